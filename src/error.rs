//! The errors of the system, with what was tried put before them.

use std::error::Error;
use std::fmt::{self, Display};
use std::io;

/// "cannot make a pipe: Too many open files". The kind stays, and the system's own error is the source.
pub(crate) fn cannot(try_to: impl Display, cause: io::Error) -> io::Error {
    let tried = format!("cannot {try_to}");
    io::Error::new(cause.kind(), Failed { tried, cause })
}

/// What was tried, and why it failed.
#[derive(Debug)]
struct Failed {
    tried: String,
    cause: io::Error,
}

impl Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.tried, self.cause)
    }
}

impl Error for Failed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_kind_and_its_source() {
        let error = cannot("open a/b", io::Error::from_raw_os_error(2));
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(
            error.to_string().starts_with("cannot open a/b: "),
            "{error}"
        );
        let source = error.get_ref().and_then(|failed| failed.source()).unwrap();
        let source: &io::Error = source.downcast_ref().unwrap();
        assert_eq!(source.raw_os_error(), Some(2));
    }
}
