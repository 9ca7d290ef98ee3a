//! An archive of two institutions that is served, and clients of it.

use crate::schema;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use strongroom_intake::{Archive, Deposit, Runner, Stop};
use strongroom_record::{Sha256, WorkItem};
use strongroom_registry::{AccountState, Role, Token};
use strongroom_serve::{Call, Limits, Options, Rate, Service, Who, answer};

/// The institutions: the archive's house, and a member.
pub(crate) const PLACES: [&str; 2] = ["local", "north"];

pub(crate) struct World {
    pub(crate) archive: Archive,
    pub(crate) place: tempfile::TempDir,
    /// By `institution/role`.
    pub(crate) tokens: BTreeMap<String, String>,
    document: Value,
}

/// A world that is served, until it is dropped.
pub(crate) struct Served {
    pub(crate) world: World,
    pub(crate) address: SocketAddr,
    agent: ureq::Agent,
    stop: Stop,
    service: Option<JoinHandle<Result<(), strongroom_serve::Error>>>,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: ureq::http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl World {
    /// An account of each role in each institution, with a token for everything, and one to spare; and in
    /// each an object `letters`.
    pub(crate) fn new() -> World {
        let place = tempfile::tempdir().unwrap();
        let options = strongroom_intake::Options::new(place.path().join("archive"));
        let archive = Archive::open_or_create(&options).unwrap().archive;
        let letters = place.path().join("letters");
        std::fs::create_dir_all(letters.join("1914")).unwrap();
        std::fs::write(letters.join("1914/june.txt"), "Dear archive\n").unwrap();
        std::fs::write(letters.join("big.bin"), bytes(3_000_000)).unwrap();
        std::fs::write(letters.join("empty"), "").unwrap();
        std::os::unix::fs::symlink("empty", letters.join("link")).unwrap();
        let mut world = World::over(archive, place);
        for institution in PLACES {
            let deposit = Deposit {
                source: letters.clone(),
                object: format!("{institution}/letters"),
                policy: None,
                accept_degraded: false,
                origin: None,
            };
            let item = world.archive.deposit(&deposit).unwrap();
            world.work_off(&item);
            for role in Role::ALL {
                let account = format!("{institution}/{role}");
                let add = Call::AddAccount { account: account.clone(), role: role.word().into() };
                answer(&world.archive, &Who::Local, &add).unwrap();
                let token = world.token(&account, None);
                world.tokens.insert(account, token);
            }
            let spare = format!("{institution}/spare");
            let role = Role::Observer.word().into();
            answer(&world.archive, &Who::Local, &Call::AddAccount { account: spare, role })
                .unwrap();
        }
        world
    }

    /// Nobody's, over an archive that is there.
    pub(crate) fn over(archive: Archive, place: tempfile::TempDir) -> World {
        World { archive, place, tokens: BTreeMap::new(), document: strongroom_serve::document() }
    }

    pub(crate) fn work_off(&self, item: &WorkItem) {
        let runner = Runner::new(&self.archive, Stop::default(), Arc::new(()));
        let ended = runner.run_one(item.id).unwrap();
        assert!(ended.error.is_none(), "{ended:?}");
    }

    /// A new token of an account.
    pub(crate) fn token(&self, account: &str, scopes: Option<&str>) -> String {
        let call = Call::CreateToken {
            account: Some(account.into()),
            name: "test".into(),
            scopes: scopes.map(Into::into),
            days: 1,
        };
        let made = answer(&self.archive, &Who::Local, &call).unwrap();
        made["token"].as_str().unwrap().into()
    }

    /// Another token like this one, but for what is changed: its name at least.
    pub(crate) fn like(&self, token: &str, change: impl FnOnce(&mut Token)) -> String {
        let registry = self.archive.registry();
        let sha256 = Sha256::of(token.as_bytes());
        let bearer = self.archive.block_on(registry.bearer(&sha256)).unwrap().unwrap();
        let mut token = bearer.token;
        change(&mut token);
        let secret = Sha256::of(token.name.as_bytes());
        let shown = format!("srt_{secret}");
        token.id = secret.0[..16].try_into().unwrap();
        token.sha256 = Sha256::of(shown.as_bytes());
        self.archive.block_on(registry.create_token(&token)).unwrap();
        shown
    }

    pub(crate) fn disable(&self, account: &str, state: AccountState) {
        let call = Call::SetAccount { account: account.into(), state: state.word().into() };
        answer(&self.archive, &Who::Local, &call).unwrap();
    }

    pub(crate) fn serve(self, options: Options) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, archive) = (Stop::default(), self.archive.clone());
        let stopped = stop.clone();
        let service = std::thread::spawn(move || {
            let progress: Arc<dyn strongroom_intake::Progress> = Arc::new(());
            Service::new(&archive, options).run(listener, &stopped, &progress, &|_| ())
        });
        let config = ureq::Agent::config_builder().http_status_as_error(false).build();
        Served { world: self, address, agent: config.into(), stop, service: Some(service) }
    }
}

/// Served with no bounds that a test could meet.
pub(crate) fn unbounded(workers: usize) -> Options {
    let all = Rate { per_second: 1e6, burst: 1e6 };
    let limits =
        Limits { token: all, address: all, stranger: all, texts: all, ..Limits::default() };
    Options { workers, limits }
}

/// Bytes that are not all alike.
pub(crate) fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|i| (i * 31 + i / 251) as u8).collect()
}

impl Served {
    pub(crate) fn token(&self, account: &str) -> &str {
        &self.world.tokens[account]
    }

    /// Asks; a JSON answer is checked against the document.
    pub(crate) fn ask(
        &self,
        token: Option<&str>,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Answer {
        let uri = format!("http://{}{target}", self.address);
        let mut request = ureq::http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response = match body {
            Some(body) => self.agent.run(request.body(body).unwrap()),
            None => self.agent.run(request.body(()).unwrap()),
        };
        let response = response.unwrap_or_else(|error| panic!("{method} {target}: {error}"));
        let (parts, mut body) = response.into_parts();
        let mut bytes = Vec::new();
        body.as_reader().read_to_end(&mut bytes).unwrap();
        let answer = Answer { status: parts.status.as_u16(), headers: parts.headers, body: bytes };
        if answer.header("content-type").contains("json") && method != "HEAD" {
            let path = target.split('?').next().unwrap();
            let at = format!("{method} {path} {}", answer.status);
            let schema = schema::of_answer(&self.world.document, method, path, answer.status);
            let document = &self.world.document;
            let problem = json!({ "$ref": "#/components/schemas/Problem" });
            schema::check(document, &schema.unwrap_or(problem), &answer.json(), &at);
        }
        answer
    }

    pub(crate) fn get(&self, account: &str, target: &str) -> Answer {
        self.ask(Some(self.token(account)), "GET", target, &[], None)
    }

    pub(crate) fn post(&self, account: &str, target: &str, body: &Value) -> Answer {
        let json = [("content-type", "application/json")];
        let body = Some(body.to_string().into_bytes());
        self.ask(Some(self.token(account)), "POST", target, &json, body)
    }

    /// Ends the service, as a signal does.
    pub(crate) fn end(mut self) -> World {
        self.finish();
        // What is left of it is the world.
        let archive = self.world.archive.clone();
        let place = std::mem::replace(&mut self.world.place, tempfile::tempdir().unwrap());
        let tokens = std::mem::take(&mut self.world.tokens);
        World { tokens, ..World::over(archive, place) }
    }

    fn finish(&mut self) {
        self.stop.stop();
        if let Some(service) = self.service.take() {
            service.join().unwrap().unwrap();
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.finish();
        }
    }
}
