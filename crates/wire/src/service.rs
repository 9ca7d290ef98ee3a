//! Handlers by name: what a node does with messages that come.

use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use bytes::Bytes;
use futures_util::FutureExt as _;

use crate::envelope::{NAME_BYTES_MAX, Trace};
use crate::lane::Refused;
use crate::path::BoxFuture;
use crate::{Node, NodeId};

/// Text of a failure that is sent back, in bytes at most; the rest is cut off.
const FAILURE_BYTES_MAX: usize = 4096;

/// What is said between nodes: something that has a form in bytes.
pub trait Payload: Sized + Send + 'static {
    /// Its bytes.
    fn into_bytes(self) -> Bytes;

    /// What these bytes say.
    ///
    /// # Errors
    /// [`Failure`], in words for the sender, where they say nothing.
    fn from_bytes(bytes: Bytes) -> Result<Self, Failure>;
}

impl Payload for Bytes {
    fn into_bytes(self) -> Bytes {
        self
    }

    fn from_bytes(bytes: Bytes) -> Result<Bytes, Failure> {
        Ok(bytes)
    }
}

impl Payload for String {
    fn into_bytes(self) -> Bytes {
        Bytes::from(self)
    }

    fn from_bytes(bytes: Bytes) -> Result<String, Failure> {
        String::from_utf8(bytes.into()).map_err(|_| Failure::new("a text that is not UTF-8"))
    }
}

impl Payload for () {
    fn into_bytes(self) -> Bytes {
        Bytes::new()
    }

    fn from_bytes(bytes: Bytes) -> Result<(), Failure> {
        match bytes.is_empty() {
            true => Ok(()),
            false => Err(Failure::new("something where nothing was expected")),
        }
    }
}

/// A handler could not do what it was asked: in words, for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failure(String);

impl Failure {
    /// In these words, of which the first 4,096 bytes reach the caller.
    pub fn new(why: impl ToString) -> Failure {
        Failure(why.to_string())
    }
}

/// Why a call has no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The handler said so; in its words.
    #[error("the peer failed: {0}")]
    Failed(String),
    /// The handler panicked. What it had done until then is not known.
    #[error("the peer's handler of {0:?} panicked")]
    Panicked(String),
    /// Nobody has that name there.
    #[error("the peer has no handler named {0:?}")]
    NoSuchName(String),
    /// The deadline passed. Whether the handler did its work is not known, unless the message had not left.
    #[error("no reply came before the deadline")]
    Deadline,
    /// The peer's process ended while the call was under way: whether it was handled is not known.
    #[error("the peer was started anew while the call was under way")]
    Restarted,
    /// The message cannot be sent.
    #[error(transparent)]
    Refused(Refused),
    /// The name is too long.
    #[error("a name has at most {NAME_BYTES_MAX} bytes; this has {0}")]
    Name(usize),
    /// The peer is not known here: there is no way to it.
    #[error("the node {0} is not known here; give an address of it")]
    UnknownPeer(NodeId),
    /// This node ends.
    #[error("this node is closed")]
    Closed,
    /// What came back is no reply.
    #[error("the peer's answer makes no sense: {0}")]
    Nonsense(String),
}

impl From<Refused> for CallError {
    fn from(refused: Refused) -> CallError {
        match refused {
            Refused::Closed => CallError::Closed,
            refused => CallError::Refused(refused),
        }
    }
}

impl CallError {
    /// As it is sent back to the caller: a byte for the kind, then words.
    pub(crate) fn to_payload(&self) -> Bytes {
        let (kind, text) = match self {
            CallError::Panicked(name) => (2, name),
            CallError::NoSuchName(name) => (3, name),
            CallError::Failed(text) => (1, text),
            other => (1, &other.to_string()),
        };
        let mut end = text.len().min(FAILURE_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Bytes::from([&[kind], &text.as_bytes()[..end]].concat())
    }

    pub(crate) fn from_payload(payload: &[u8]) -> CallError {
        let (kind, text) = payload.split_first().unwrap_or((&0, &[]));
        let text = String::from_utf8_lossy(&text[..text.len().min(FAILURE_BYTES_MAX)]).into_owned();
        match kind {
            1 => CallError::Failed(text),
            2 => CallError::Panicked(text),
            3 => CallError::NoSuchName(text),
            _ => CallError::Nonsense(text),
        }
    }
}

/// What a handler knows of the message beside what it says.
#[derive(Clone)]
pub struct Context {
    /// This node.
    pub node: Node,
    /// Who sent it.
    pub from: NodeId,
    /// After this nobody waits for a reply, and the handler is dropped where it next waits.
    pub deadline: Option<Instant>,
    /// What it belongs to; handed on with what the handler sends.
    pub trace: Option<Trace>,
    /// A handler may have begun with it that never came to its end ([`crate::spooled`]).
    pub redelivered: bool,
}

type Handle = dyn Fn(Context, Bytes) -> BoxFuture<'static, Result<Bytes, Failure>> + Send + Sync;

/// The names of a node.
#[derive(Clone, Default)]
pub(crate) struct Names(Arc<RwLock<HashMap<String, Arc<Handle>>>>);

/// A name is taken, or cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAName {
    /// It has a handler.
    #[error("the name {0:?} has a handler already")]
    Taken(String),
    /// It is empty or too long.
    #[error("a name has 1 to {NAME_BYTES_MAX} bytes; this has {0}")]
    Length(usize),
}

/// A name that a node has, until this is dropped.
pub struct Registration {
    names: Names,
    name: String,
    gone: Box<dyn Fn(&str) + Send + Sync>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.names.0.write().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
        (self.gone)(&self.name);
    }
}

impl Names {
    /// Lets `handler` have a name. `gone` hears when it has it no longer.
    pub(crate) fn register<Q, A, F>(
        &self,
        name: &str,
        handler: impl Fn(Context, Q) -> F + Send + Sync + 'static,
        gone: Box<dyn Fn(&str) + Send + Sync>,
    ) -> Result<Registration, NotAName>
    where
        Q: Payload,
        A: Payload,
        F: Future<Output = Result<A, Failure>> + Send + 'static,
    {
        if !(1..=NAME_BYTES_MAX).contains(&name.len()) {
            return Err(NotAName::Length(name.len()));
        }
        let handle = move |context: Context, bytes: Bytes| -> BoxFuture<'static, _> {
            match Q::from_bytes(bytes) {
                Ok(asked) => Box::pin(handler(context, asked).map(|done| done.map(A::into_bytes))),
                Err(failure) => Box::pin(std::future::ready(Err(failure))),
            }
        };
        let mut names = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if names.contains_key(name) {
            return Err(NotAName::Taken(name.into()));
        }
        names.insert(name.into(), Arc::new(handle));
        drop(names);
        Ok(Registration { names: self.clone(), name: name.into(), gone })
    }

    /// Whether somebody has it.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains_key(name)
    }

    /// What the handler of `name` makes of a message. A panic, also before its first wait, is an error.
    pub(crate) fn handle(
        &self,
        name: &str,
        context: Context,
        payload: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, CallError>> {
        let handle = self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        let Some(handle) = handle else {
            return Box::pin(std::future::ready(Err(CallError::NoSuchName(name.into()))));
        };
        let name = name.to_owned();
        // Its first part may panic too, before there is a future.
        let begun = std::panic::catch_unwind(AssertUnwindSafe(|| handle(context, payload)));
        Box::pin(async move {
            let done = match begun {
                Ok(handling) => AssertUnwindSafe(handling).catch_unwind().await,
                Err(panic) => Err(panic),
            };
            match done {
                Ok(done) => done.map_err(|Failure(why)| CallError::Failed(why)),
                Err(_) => Err(CallError::Panicked(name)),
            }
        })
    }
}
