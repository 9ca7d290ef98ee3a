//! Whole nodes under every fault, in a network in memory with time of its own: what is said of each message is true, what is sent
//! between processes that live is handled once, orders are kept, calls end, and nothing is held in the end.
//!
//! ```text
//! cargo test --release -p strongroom-wire --test nodes -- [--seeds N] [--from N] [--plant BUG]
//! ```
//!
//! Connections here give up like TCP's, so that nothing is lost without heartbeats either; those are not tried.
//!
//! The gate tries 200 seeds, and that each planted bug is found. A seed fixes the network, the traffic, the faults, and the nodes'
//! epochs and pauses; not TLS's keys, nor in which order a node sees to what is ready at the same time: a rare failure may
//! need its seed to be tried more than once.
#![allow(clippy::unwrap_used)]

mod ledger;
mod world;

use std::process::ExitCode;

use strongroom_testkit::seeds::Campaign;
use tokio::runtime::Builder;

/// Bugs that are made on purpose, in what drives the nodes here, as a real process or network could have them.
const PLANTS: [&str; 8] = [
    // A process that is started anew, and says that it is the one from before.
    "same-epoch",
    // A message counts as delivered when it was given to the node.
    "delivered-when-sent",
    // What is uncertain, or not answered in time, is sent again as the same.
    "send-anew",
    // Connections on which nothing is acknowledged stay for ever.
    "patient-network",
    // A cast that finds the peer busy counts as sent.
    "ignore-busy",
    // What is to keep an order is sent without one.
    "no-order",
    // A handler keeps what it got.
    "keep-payloads",
    // A handler forgets to answer.
    "no-answer",
];

fn main() -> ExitCode {
    // Handlers that panic are part of it.
    std::panic::set_hook(Box::new(|panic| {
        if !panic.to_string().contains(world::ON_PURPOSE) {
            eprintln!("{panic}");
        }
    }));
    let campaign = Campaign { name: "nodes", plants: &PLANTS, seeds: 200, seeds_for_a_plant: 300 };
    campaign.main(run, |counts: world::Counts, seeds| {
        println!("{counts}");
        counts.enough(seeds).map_err(|what| format!("too little happened: {what}"))
    })
}

fn run(seed: u64, plant: &str, counts: &mut world::Counts) -> Result<(), String> {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(world::World::run(seed, plant, counts))
}
