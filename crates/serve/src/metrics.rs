//! Counts for a monitor, in Prometheus' text form.

use crate::Error;
use crate::app::App;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use strongroom_intake::Archive;

/// Upper bounds of the latencies' buckets, in seconds.
const BUCKETS: [f64; 6] = [0.005, 0.025, 0.1, 0.5, 2.0, 10.0];

/// What was counted since the service began.
#[derive(Default)]
pub(crate) struct Metrics(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    /// By method, route and status. Routes are those of the table, so there are few.
    requests: BTreeMap<(&'static str, String, u16), u64>,
    /// By route.
    latencies: BTreeMap<String, Latencies>,
    bounds: BTreeMap<&'static str, u64>,
    connections: u64,
}

#[derive(Default)]
struct Latencies {
    within: [u64; BUCKETS.len()],
    count: u64,
    seconds: f64,
}

impl Metrics {
    fn counted<T>(&self, count: impl FnOnce(&mut Counted) -> T) -> T {
        count(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A request was answered.
    pub(crate) fn request(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        self.counted(|counted| {
            *counted.requests.entry((method, route.into(), status)).or_default() += 1;
            let latencies = counted.latencies.entry(route.into()).or_default();
            let seconds = took.as_secs_f64();
            latencies.count += 1;
            latencies.seconds += seconds;
            for (bucket, within) in BUCKETS.iter().zip(&mut latencies.within) {
                *within += u64::from(seconds <= *bucket);
            }
        });
    }

    /// A bound was hit.
    pub(crate) fn bound(&self, which: &'static str) {
        self.counted(|counted| *counted.bounds.entry(which).or_default() += 1);
    }

    /// A connection was opened.
    pub(crate) fn connection(&self) {
        self.counted(|counted| counted.connections += 1);
    }
}

/// What the archive has to tell.
pub(crate) struct Gauges {
    work: Vec<(&'static str, u64)>,
    shards: Vec<(&'static str, u64)>,
    /// By name: bytes stored, and bytes free where the shelf is there.
    shelves: Vec<(String, u64, Option<u64>)>,
}

impl Gauges {
    pub(crate) fn of(archive: &Archive) -> Result<Gauges, Error> {
        let status = archive.block_on(archive.registry().status())?;
        let text = |shelf: &serde_json::Value| shelf["name"].as_str().unwrap_or("?").to_string();
        let shelves = crate::view::shelves(archive)?;
        Ok(Gauges {
            work: status.work.iter().map(|(status, n)| (status.word(), *n)).collect(),
            shards: status.placements.iter().map(|(state, n)| (state.word(), *n)).collect(),
            shelves: (shelves.iter())
                .map(|shelf| {
                    let stored = shelf["stored_bytes"].as_u64().unwrap_or(0);
                    (text(shelf), stored, shelf["free_bytes"].as_u64())
                })
                .collect(),
        })
    }
}

/// Everything, in the text form (version 0.0.4).
pub(crate) fn text(app: &App, gauges: &Gauges) -> String {
    let mut page = Page(String::new());
    app.metrics.counted(|counted| {
        page.head("strongroom_http_requests_total", "counter", "Requests that were answered.");
        for ((method, route, status), n) in &counted.requests {
            let labels = [("method", *method), ("route", route), ("status", &status.to_string())];
            page.row("strongroom_http_requests_total", &labels, *n as f64);
        }
        let name = "strongroom_http_request_seconds";
        page.head(name, "histogram", "Time to the answer's head.");
        for (route, latencies) in &counted.latencies {
            let bounds = BUCKETS.iter().map(f64::to_string).zip(latencies.within);
            for (le, n) in bounds.chain([("+Inf".into(), latencies.count)]) {
                page.row(&format!("{name}_bucket"), &[("route", route), ("le", &le)], n as f64);
            }
            page.row(&format!("{name}_sum"), &[("route", route)], latencies.seconds);
            page.row(&format!("{name}_count"), &[("route", route)], latencies.count as f64);
        }
        page.head("strongroom_bounds_hit_total", "counter", "Times that a bound refused somebody.");
        for (which, n) in &counted.bounds {
            page.row("strongroom_bounds_hit_total", &[("bound", *which)], *n as f64);
        }
        page.head("strongroom_http_connections_total", "counter", "Connections that were opened.");
        page.row("strongroom_http_connections_total", &[], counted.connections as f64);
    });
    let (running, waiting) = app.queue();
    page.head("strongroom_calls", "gauge", "Calls to the archive, by what they do.");
    page.row("strongroom_calls", &[("state", "running")], running as f64);
    page.row("strongroom_calls", &[("state", "waiting")], waiting as f64);
    let [texts, bytes, waiting, held] = app.texts.counts();
    page.head("strongroom_texts_total", "counter", "Texts that were taken to be analysed.");
    page.row("strongroom_texts_total", &[], texts as f64);
    page.head("strongroom_texts_bytes_total", "counter", "Bytes of the calls that brought them.");
    page.row("strongroom_texts_bytes_total", &[], bytes as f64);
    page.head("strongroom_texts_waiting", "gauge", "Texts, or pieces of many, that wait.");
    page.row("strongroom_texts_waiting", &[], waiting as f64);
    page.head("strongroom_texts_held_bytes", "gauge", "Bytes of calls that are being answered.");
    page.row("strongroom_texts_held_bytes", &[], held as f64);
    page.head("strongroom_work_items", "gauge", "Work items, by status.");
    for (status, n) in &gauges.work {
        page.row("strongroom_work_items", &[("status", *status)], *n as f64);
    }
    page.head("strongroom_shards", "gauge", "Shards, by what is known of them.");
    for (state, n) in &gauges.shards {
        page.row("strongroom_shards", &[("state", *state)], *n as f64);
    }
    page.head("strongroom_shelf_stored_bytes", "gauge", "Bytes of shards on a shelf.");
    for (name, stored, _) in &gauges.shelves {
        page.row("strongroom_shelf_stored_bytes", &[("shelf", name)], *stored as f64);
    }
    page.head("strongroom_shelf_free_bytes", "gauge", "Bytes free on a shelf that is there.");
    for (name, _, free) in &gauges.shelves {
        if let Some(free) = free {
            page.row("strongroom_shelf_free_bytes", &[("shelf", name)], *free as f64);
        }
    }
    page.0
}

struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn row(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let escaped =
            |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let labels: Vec<_> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let _ = match labels.is_empty() {
            true => writeln!(self.0, "{name} {value}"),
            false => writeln!(self.0, "{name}{{{}}} {value}", labels.join(",")),
        };
    }
}
