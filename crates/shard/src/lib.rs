//! The room `shard`.
