//! What a node counts, in Prometheus' text form (version 0.0.4), for whoever serves it.

use std::fmt::Write as _;

use crate::{LaneState, Node};

/// A metric of a lane: its name, kind, meaning, and value.
type OfLane = (&'static str, &'static str, &'static str, fn(&LaneState) -> u64);

const OF_LANES: [OfLane; 7] = [
    ("queued_messages", "gauge", "Messages that the peer has not handed on.", |lane| {
        lane.queued.0 as u64
    }),
    ("queued_bytes", "gauge", "What these count in bytes.", |lane| lane.queued.1),
    ("credit_bytes", "gauge", "Bytes that may be begun now.", |lane| lane.credit),
    ("held_bytes", "gauge", "What messages count that came and are still held.", |lane| lane.held),
    (
        "resumes_total",
        "counter",
        "Messages that were asked for after a connection had gone.",
        |l| l.resumes,
    ),
    ("duplicates_total", "counter", "Messages that came again and were dropped.", |lane| {
        lane.duplicates
    }),
    ("lane_connections_total", "counter", "Connections that a lane has had.", |l| l.connections),
];

/// All of a node's peers, lanes, and memory.
pub fn text(node: &Node) -> String {
    let mut page = String::new();
    let peers = node.peers();
    let head = |page: &mut String, name: &str, kind: &str, help: &str| {
        let _ = writeln!(page, "# HELP strongroom_wire_{name} {help}");
        let _ = writeln!(page, "# TYPE strongroom_wire_{name} {kind}");
    };
    for (name, kind, help, value) in OF_LANES {
        head(&mut page, name, kind, help);
        for peer in &peers {
            for (lane, state) in &peer.lanes {
                let (id, value) = (peer.id, value(state));
                let _ = writeln!(
                    page,
                    "strongroom_wire_{name}{{peer=\"{id}\",lane=\"{lane}\"}} {value}"
                );
            }
        }
    }
    head(&mut page, "round_trip_seconds", "gauge", "The round trip of heartbeats, smoothed.");
    for peer in &peers {
        if let Some(trip) = peer.round_trip {
            let (id, seconds) = (peer.id, trip.as_secs_f64());
            let _ = writeln!(page, "strongroom_wire_round_trip_seconds{{peer=\"{id}\"}} {seconds}");
        }
    }
    head(&mut page, "phi", "gauge", "How suspicious a peer's silence is.");
    for peer in &peers {
        let _ = writeln!(page, "strongroom_wire_phi{{peer=\"{}\"}} {}", peer.id, peer.phi);
    }
    head(&mut page, "connections", "gauge", "Connections that stand.");
    for peer in &peers {
        let (id, count) = (peer.id, peer.connections.len());
        let _ = writeln!(page, "strongroom_wire_connections{{peer=\"{id}\"}} {count}");
    }
    head(&mut page, "spooled_messages", "gauge", "Messages that are kept on disk for a peer.");
    for peer in &peers {
        let (id, count) = (peer.id, node.spooled(peer.id).0);
        let _ = writeln!(page, "strongroom_wire_spooled_messages{{peer=\"{id}\"}} {count}");
    }
    let [small, bulk] = node.memory();
    let memory = [("small", small), ("bulk", bulk)];
    head(&mut page, "promised_bytes", "gauge", "Memory that is promised to peers.");
    for (class, (promised, _)) in memory {
        let _ = writeln!(page, "strongroom_wire_promised_bytes{{class=\"{class}\"}} {promised}");
    }
    head(&mut page, "promised_bytes_max", "gauge", "Memory that may be promised to peers.");
    for (class, (_, max)) in memory {
        let _ = writeln!(page, "strongroom_wire_promised_bytes_max{{class=\"{class}\"}} {max}");
    }
    page
}
