//! Measurements of peu beside its peers.
