//! Models of peu's concurrent protocols; empty unless built with `--cfg loom`.

#[cfg(loom)]
pub mod driver;
