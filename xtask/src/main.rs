//! Chores of peu, run as `cargo xtask <name>`.

fn main() {}
