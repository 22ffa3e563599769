//! Addresses: in digits, which need nobody, and by name, which need a thread that may block.

use super::names;
use std::io;
use std::iter::Chain;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::{option, vec};

/// What can be connected or bound to: an address, several of them, or a name.
///
/// | type | example |
/// |---|---|
/// | [`SocketAddr`] and its two variants | `SocketAddr::from(([127, 0, 0, 1], 80))` |
/// | `(ip, port)` | `(Ipv4Addr::LOCALHOST, 80)` |
/// | `(host, port)`, of `&str` or [`String`] | `("localhost", 80)`, `("::1", 80)` |
/// | `str`, [`String`] | `"localhost:80"`, `"127.0.0.1:80"`, `"[::1]:80"` |
/// | `[SocketAddr]`, arrays of them | `&addresses[..]`: tried in this order |
///
/// and references to these. It is the counterpart of [`std::net::ToSocketAddrs`], and can't be implemented elsewhere.
///
/// A host in digits is parsed on the spot. A name is looked up by the system's resolver on a thread that may block
/// ([`Reactor::offload`](crate::Reactor::offload)). A look-up that nobody waits for any more runs to its end, and its
/// result is dropped.
pub trait ToSocketAddrs {
    #[doc(hidden)]
    fn target(&self) -> io::Result<sealed::Target>;
}

/// Looks up the addresses of a host.
///
/// ```
/// # use peu_reactor::net::lookup_host;
/// # use futures_lite::future::block_on;
/// let addresses = block_on(lookup_host("127.0.0.1:80"))?;
/// assert_eq!(addresses, ["127.0.0.1:80".parse().unwrap()]);
/// # std::io::Result::Ok(())
/// ```
///
/// # Errors
/// When the name is not known, or the resolver fails; when the reactor has no threads for it, or this thread is in no
/// runtime. Addresses in digits need neither.
///
/// # Cancel safety
/// Dropping it loses nothing; see [`ToSocketAddrs`].
pub async fn lookup_host(host: impl ToSocketAddrs) -> io::Result<Vec<SocketAddr>> {
    Ok(resolve(host).await?.collect())
}

/// Several addresses without an allocation for one.
pub(super) type Addresses = Chain<option::IntoIter<SocketAddr>, vec::IntoIter<SocketAddr>>;

pub(super) async fn resolve(target: impl ToSocketAddrs) -> io::Result<Addresses> {
    match target.target()? {
        sealed::Target::Address(address) => Ok(Some(address).into_iter().chain(Vec::new())),
        sealed::Target::Addresses(addresses) => Ok(None.into_iter().chain(addresses)),
        sealed::Target::Name(host, port) => {
            let addresses = names::lookup(host, port).await?;
            Ok(None.into_iter().chain(addresses))
        }
    }
}

mod sealed {
    use std::net::SocketAddr;

    /// What a value of a type in [`ToSocketAddrs`](super::ToSocketAddrs) means.
    #[derive(Debug)]
    pub enum Target {
        Address(SocketAddr),
        Addresses(Vec<SocketAddr>),
        Name(String, u16),
    }
}

use sealed::Target;

impl ToSocketAddrs for SocketAddr {
    fn target(&self) -> io::Result<Target> {
        Ok(Target::Address(*self))
    }
}

impl ToSocketAddrs for SocketAddrV4 {
    fn target(&self) -> io::Result<Target> {
        Ok(Target::Address((*self).into()))
    }
}

impl ToSocketAddrs for SocketAddrV6 {
    fn target(&self) -> io::Result<Target> {
        Ok(Target::Address((*self).into()))
    }
}

impl ToSocketAddrs for (IpAddr, u16) {
    fn target(&self) -> io::Result<Target> {
        Ok(Target::Address((*self).into()))
    }
}

impl ToSocketAddrs for (Ipv4Addr, u16) {
    fn target(&self) -> io::Result<Target> {
        Ok(Target::Address((*self).into()))
    }
}

impl ToSocketAddrs for (Ipv6Addr, u16) {
    fn target(&self) -> io::Result<Target> {
        Ok(Target::Address((*self).into()))
    }
}

impl ToSocketAddrs for [SocketAddr] {
    fn target(&self) -> io::Result<Target> {
        Ok(Target::Addresses(self.to_vec()))
    }
}

impl<const N: usize> ToSocketAddrs for [SocketAddr; N] {
    fn target(&self) -> io::Result<Target> {
        self.as_slice().target()
    }
}

impl ToSocketAddrs for (&str, u16) {
    fn target(&self) -> io::Result<Target> {
        let (host, port) = *self;
        match host.parse::<IpAddr>() {
            Ok(ip) => Ok(Target::Address((ip, port).into())),
            Err(_) if host.is_empty() => Err(malformed(format_args!(":{port}"), "it has no host")),
            Err(_) => Ok(Target::Name(host.into(), port)),
        }
    }
}

impl ToSocketAddrs for (String, u16) {
    fn target(&self) -> io::Result<Target> {
        (self.0.as_str(), self.1).target()
    }
}

impl ToSocketAddrs for str {
    fn target(&self) -> io::Result<Target> {
        if let Ok(address) = self.parse() {
            return Ok(Target::Address(address));
        }
        let Some((host, port)) = self.rsplit_once(':') else {
            return Err(malformed(self, "it has no port"));
        };
        match port.parse::<u16>() {
            Ok(port) => (host, port).target(),
            Err(_) => Err(malformed(self, "its port is no number up to 65535")),
        }
    }
}

impl ToSocketAddrs for String {
    fn target(&self) -> io::Result<Target> {
        self.as_str().target()
    }
}

impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {
    fn target(&self) -> io::Result<Target> {
        (**self).target()
    }
}

fn malformed(text: impl std::fmt::Display, why: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("cannot resolve \"{text}\": {why}; write host:port, 127.0.0.1:port, or [::1]:port"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(target: impl ToSocketAddrs) -> String {
        match target.target() {
            Ok(Target::Address(address)) => format!("address {address}"),
            Ok(Target::Addresses(addresses)) => format!("addresses {addresses:?}"),
            Ok(Target::Name(host, port)) => format!("name {host} {port}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn digits_are_no_names() {
        assert_eq!(of("127.0.0.1:80"), "address 127.0.0.1:80");
        assert_eq!(of("[::1]:80"), "address [::1]:80");
        assert_eq!(of(("::1", 80)), "address [::1]:80");
        assert_eq!(of((String::from("10.0.0.1"), 80)), "address 10.0.0.1:80");
        assert_eq!(of((Ipv4Addr::LOCALHOST, 80)), "address 127.0.0.1:80");
        assert_eq!(of((Ipv6Addr::LOCALHOST, 80)), "address [::1]:80");
        let both = [([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into()];
        assert_eq!(of(both), "addresses [127.0.0.1:1, 127.0.0.1:2]");
        assert_eq!(of(&both[..1]), "addresses [127.0.0.1:1]");
    }

    #[test]
    fn what_is_no_address_is_a_name() {
        assert_eq!(of("localhost:80"), "name localhost 80");
        assert_eq!(of(String::from("a.example:65535")), "name a.example 65535");
        assert_eq!(of(("localhost", 1)), "name localhost 1");
    }

    #[test]
    fn what_is_malformed_is_refused_with_the_reason() {
        assert!(of("localhost").contains("\"localhost\": it has no port"));
        assert!(of("localhost:http").contains("its port is no number"));
        assert!(of("localhost:65536").contains("its port is no number"));
        assert!(of(":80").contains("it has no host"));
        assert!(of("").contains("it has no port"));
    }
}
