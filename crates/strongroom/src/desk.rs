//! Where calls are answered: by the archive on this machine, or by a server. Commands ask and print; they
//! do not know which it is.

use crate::errors::Failure;
use serde_json::Value;
use std::io::Read;
use strongroom_intake::{Archive, Code};
use strongroom_serve::{Call, Request, Who, answer};

/// Bytes of an answer that is not streamed.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// How long a connection may take to stand.
const CONNECT: std::time::Duration = std::time::Duration::from_secs(10);

/// Who answers.
pub(crate) enum Desk {
    Local(Archive),
    Server(Client),
}

impl Desk {
    /// The archive, where it is on this machine.
    pub(crate) fn archive(&self) -> Option<&Archive> {
        match self {
            Desk::Local(archive) => Some(archive),
            Desk::Server(_) => None,
        }
    }

    /// Asks.
    pub(crate) fn ask(&self, call: &Call) -> Result<Value, Failure> {
        match self {
            Desk::Local(archive) => Ok(answer(archive, &Who::Local, call)?),
            Desk::Server(client) => client.ask(&call.request()),
        }
    }

    /// The rows of a list, page by page, so that it may be longer than memory.
    pub(crate) fn each(
        &self,
        call: &dyn Fn(Option<String>) -> Call,
        tell: &mut dyn FnMut(Value) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut after = None;
        loop {
            let mut page = self.ask(&call(after))?;
            let Value::Array(rows) = page["items"].take() else {
                return Err(Failure::server("its answer is no list"));
            };
            rows.into_iter().try_for_each(&mut *tell)?;
            match page["next"].take() {
                Value::String(next) => after = Some(next),
                _ => return Ok(()),
            }
        }
    }

    /// All rows of a short list.
    pub(crate) fn all(&self, call: &Call) -> Result<Vec<Value>, Failure> {
        let mut rows = Vec::new();
        self.each(&|_| call.clone(), &mut |row| {
            rows.push(row);
            Ok(())
        })?;
        Ok(rows)
    }
}

/// A client of a server.
pub(crate) struct Client {
    agent: ureq::Agent,
    url: String,
    token: Option<String>,
}

impl Client {
    /// Of the server at `url`, which is plain HTTP: TLS is for whoever stands between.
    pub(crate) fn new(url: &str, token: Option<String>) -> Result<Client, Failure> {
        if !url.starts_with("http://") {
            return Err(Failure::usage(format_args!("`{url}` is no address of a server")).hint(
                "Give it as http://HOST:PORT; for TLS, use a tunnel or proxy on this machine.",
            ));
        }
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT))
            .max_redirects(0)
            .user_agent(concat!("strongroom/", env!("CARGO_PKG_VERSION")))
            .build();
        let url = url.trim_end_matches('/').to_string();
        Ok(Client { agent: config.into(), url, token })
    }

    fn ask(&self, request: &Request) -> Result<Value, Failure> {
        let mut builder = self.request(request.method, &request.target);
        let sent = match &request.body {
            Some(body) => {
                builder = builder.header("content-type", "application/json");
                self.agent.run(whole(builder.body(body.to_string()))?)
            }
            None => self.agent.run(whole(builder.body(()))?),
        };
        let response = self.good(sent)?;
        json(response.into_body())
    }

    /// What is at `target`, as it comes.
    pub(crate) fn fetch(&self, target: &str) -> Result<impl Read + use<>, Failure> {
        let sent = self.agent.run(whole(self.request("GET", target).body(()))?);
        Ok(self.good(sent)?.into_body().into_reader())
    }

    /// Posts what can be read.
    pub(crate) fn post(&self, target: &str, mut body: impl Read) -> Result<Value, Failure> {
        // Asked first, so that what is refused is not sent.
        let request = self
            .request("POST", target)
            .header("content-type", "application/x-tar")
            .header("expect", "100-continue");
        let request = request.body(ureq::SendBody::from_reader(&mut body));
        let response = self.good(self.agent.run(whole(request)?))?;
        json(response.into_body())
    }

    fn request(&self, method: &str, target: &str) -> ureq::http::request::Builder {
        let uri = format!("{}{target}", self.url);
        let builder = ureq::http::Request::builder().method(method).uri(uri);
        match &self.token {
            Some(token) => builder.header("authorization", format!("Bearer {token}")),
            None => builder,
        }
    }

    fn good(
        &self,
        sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<ureq::http::Response<ureq::Body>, Failure> {
        let response =
            sent.map_err(|error| Failure::server(format_args!("{}: {error}", self.url)))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let problem = json(response.into_body()).unwrap_or_default();
        let code = Code::ALL.iter().find(|code| problem["code"] == code.word());
        let detail = problem["detail"].as_str().unwrap_or_default();
        Err(match code {
            Some(code) => Failure::coded(*code, detail),
            None => Failure::server(format_args!("{}: {status}", self.url)),
        })
    }
}

fn whole<T>(request: Result<T, ureq::http::Error>) -> Result<T, Failure> {
    request.map_err(|error| Failure::server(format_args!("it cannot be asked: {error}")))
}

fn json(body: ureq::Body) -> Result<Value, Failure> {
    let mut bytes = Vec::new();
    let read = body.into_reader().take(ANSWER_BYTES_MAX).read_to_end(&mut bytes);
    read.map_err(|error| Failure::server(format_args!("its answer: {error}")))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Failure::server(format_args!("its answer is no JSON: {error}")))
}
