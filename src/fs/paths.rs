//! Names and what is known about them.

use super::work::{call_on_path, on_path, take_turns};
use super::{Metadata, Permissions};
use crate::Handle;
use peu_reactor::file::Call;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What is known about a file; a symbolic link is followed.
///
/// # Errors
///
/// The system's, with the path.
///
/// # Example
///
/// ```
/// let runtime = peu::Runtime::new()?;
/// assert!(runtime.block_on(peu::fs::metadata("Cargo.toml"))?.is_file());
/// assert!(!runtime.block_on(peu::fs::try_exists("Cargo.tom"))?);
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    match look_now(path.as_ref(), true).await {
        Some(about) => Ok(about),
        None => on_path("look at", path, |path| fs::metadata(path)).await,
    }
}

/// What is known about a file; a symbolic link is looked at itself.
///
/// # Errors
///
/// The system's, with the path.
pub async fn symlink_metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    match look_now(path.as_ref(), false).await {
        Some(about) => Ok(about),
        None => on_path("look at", path, |path| fs::symlink_metadata(path)).await,
    }
}

/// What is in memory about a path.
async fn look_now(path: &Path, follow_link: bool) -> Option<Metadata> {
    take_turns().await;
    let runtime = Handle::current();
    runtime.reactor().files().look_now(path, follow_link)
}

/// Whether there is something at this path; a symbolic link is followed.
///
/// # Errors
///
/// When it can't be told, for example because a folder on the way may not be searched: the system's error, with the
/// path.
pub async fn try_exists(path: impl AsRef<Path>) -> io::Result<bool> {
    match look_now(path.as_ref(), true).await {
        Some(_) => Ok(true),
        None => on_path("look for", path, |path| fs::exists(path)).await,
    }
}

/// Sets who may do what with a file.
///
/// # Errors
///
/// The system's, with the path.
pub async fn set_permissions(path: impl AsRef<Path>, permissions: Permissions) -> io::Result<()> {
    on_path("set the permissions of", path, move |path| {
        fs::set_permissions(path, permissions.clone())
    })
    .await
}

/// Removes a file, or a symbolic link itself.
///
/// # Errors
///
/// The system's, with the path.
pub async fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    let call = Call::remove(path, false);
    call_on_path("remove", path, call).await.map(drop)
}

/// Gives a file another name, replacing what had it.
///
/// # Errors
///
/// The system's, with both paths.
pub async fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    let (from, to) = (from.as_ref(), to.as_ref());
    let what = format!("give the name {} to", to.display());
    call_on_path(what, from, Call::rename(from, to))
        .await
        .map(drop)
}

/// Makes `link` a second name of the file `original`.
///
/// # Errors
///
/// The system's, with both paths.
pub async fn hard_link(original: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
    let (original, link) = (original.as_ref(), link.as_ref());
    let what = format!("make {} a name of", link.display());
    let call = Call::link(original, link);
    call_on_path(what, original, call).await.map(drop)
}

/// Makes `link` a symbolic link to `original`, which need not exist, and counts from the folder of the link if it is
/// relative.
///
/// # Errors
///
/// The system's, with both paths.
pub async fn symlink(original: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
    let link = link.as_ref().to_owned();
    let what = format!("make {} a link to", link.display());
    let job = move |original: &Path| std::os::unix::fs::symlink(original, &link);
    on_path(what, original, job).await
}

/// Where a symbolic link leads.
///
/// # Errors
///
/// The system's, with the path.
pub async fn read_link(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    on_path("read the link", path, |path| fs::read_link(path)).await
}

/// The absolute path without symbolic links and dots.
///
/// # Errors
///
/// The system's, with the path; there must be something at it.
pub async fn canonicalize(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    on_path("resolve", path, |path| fs::canonicalize(path)).await
}
