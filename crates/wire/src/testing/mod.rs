//! What tests and benchmarks of connections need: a proxy that resets connections, and a network in memory with time of its own.

mod network;
mod proxy;

use std::sync::Mutex;

pub use self::network::{Counts, Network, Weather};
pub use self::proxy::ResettingProxy;

use strongroom_spool::testing::Random;

use crate::node::Fixed;
use crate::path::Dial;
use crate::{Node, NodeKey, NotStarted, Settings};

/// Starts a node all of which runs in the runtime in which this is called, so that a clock that stands still there stands
/// still for it. Its jitter comes from `seed`, its epoch is this one. What the seed does not fix: keys and randoms of TLS,
/// incarnations of members, in which order a node sees to several peers or to what is ready at the same time.
///
/// # Errors
/// [`NotStarted`].
pub fn start_in_one_runtime(
    key: NodeKey,
    dial: impl Dial,
    settings: Settings,
    seed: u64,
    epoch: u64,
) -> Result<Node, NotStarted> {
    let fixed = Fixed { epoch, chance: Mutex::new(Random(seed)) };
    Node::start_as(key, dial, settings, Some(fixed))
}
