//! An established connection: one half for each direction, which may live on different threads.

use super::{Error, alert, record, whole};
use crate::NodeId;

/// By whom records are sealed and opened. What is on the wire is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Records {
    /// By ourselves, from where data lie to where they belong.
    #[default]
    Own,
    /// By rustls, at about twice the cost.
    Rustls,
}

/// A connection whose handshake is done.
pub struct Session {
    /// Who the peer is, where it showed a node's key.
    pub peer: Option<NodeId>,
    /// For what goes out.
    pub sealer: Sealer,
    /// For what comes in.
    pub opener: Opener,
}

/// Seals what goes out.
pub struct Sealer(SealedBy);

enum SealedBy {
    Own(Box<record::Sealer>),
    Rustls(whole::Sealer),
}

/// Opens what comes in.
pub struct Opener(OpenedBy);

enum OpenedBy {
    Own(Box<record::Opener>),
    Rustls(whole::Opener),
}

/// What a record held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// So many bytes of data, at the beginning of the output.
    Data(usize),
    /// Nothing for whoever is above.
    Nothing,
    /// The proper end; nothing comes after it.
    End,
}

impl Session {
    pub(super) fn own(
        peer: Option<NodeId>,
        (sealer, opener): (record::Sealer, record::Opener),
    ) -> Session {
        let sealer = Sealer(SealedBy::Own(Box::new(sealer)));
        Session { peer, sealer, opener: Opener(OpenedBy::Own(Box::new(opener))) }
    }

    pub(super) fn rustls(peer: Option<NodeId>, connection: whole::Connection) -> Session {
        let (sealer, opener) = whole::directions(connection);
        let sealer = Sealer(SealedBy::Rustls(sealer));
        Session { peer, sealer, opener: Opener(OpenedBy::Rustls(opener)) }
    }
}

impl Sealer {
    /// Seals `plain` as one record at the beginning of `out`; before it, where it is time, a key update.
    /// Returns the bytes written: [`RECORD_OVERHEAD`](super::RECORD_OVERHEAD) more than those of `plain`, and
    /// [`UPDATE_BYTES`](super::UPDATE_BYTES) more with a key update.
    ///
    /// # Errors
    /// [`Error::Room`] where `out` has not room for all of that, or `plain` is longer than
    /// [`RECORD_PLAIN_MAX`](super::RECORD_PLAIN_MAX); [`Error::Over`] after [`Sealer::close`].
    pub fn seal(&mut self, plain: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        match &mut self.0 {
            SealedBy::Own(own) => own.seal(plain, out),
            SealedBy::Rustls(rustls) => rustls.seal(plain, out),
        }
    }

    /// Says the proper end, so that the peer can tell it from a cut. Returns the bytes written to `out`.
    ///
    /// # Errors
    /// [`Error::Room`]; [`Error::Over`] the second time.
    pub fn close(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        match &mut self.0 {
            SealedBy::Own(own) => own.end(alert::CLOSE_NOTIFY, out),
            SealedBy::Rustls(rustls) => rustls.close(out),
        }
    }

    /// Tells the peer why there is no going on: the alert of [`Error::Broken`], if rustls has none of its own. Returns the bytes
    /// written to `out`.
    ///
    /// # Errors
    /// As [`Sealer::close`].
    pub fn abort(&mut self, alert: u8, out: &mut [u8]) -> Result<usize, Error> {
        match &mut self.0 {
            SealedBy::Own(own) => own.end(alert, out),
            SealedBy::Rustls(rustls) => rustls.abort(out),
        }
    }

    /// Uses a new key after so many records, instead of [`RECORDS_PER_KEY`](super::RECORDS_PER_KEY): for tests, which cannot
    /// send that many.
    #[doc(hidden)]
    pub fn set_records_per_key(&mut self, records: u64) {
        if let SealedBy::Own(own) = &mut self.0 {
            own.set_records_per_key(records);
        }
    }
}

impl Opener {
    /// Opens one whole record, as [`record_length`](super::record_length) measures it, into the beginning of `out`. More of
    /// `out` may be written than what is data: all but header and tag of what `record` holds, and that much room it must have.
    ///
    /// # Errors
    /// [`Error::Room`], after which the same record may come again with more of it. [`Error::Broken`] and
    /// [`Error::Alert`] end the connection: everything after is [`Error::Over`].
    pub fn open(&mut self, record: &[u8], out: &mut [u8]) -> Result<Opened, Error> {
        match &mut self.0 {
            OpenedBy::Own(own) => own.open(record, out),
            OpenedBy::Rustls(rustls) => rustls.open(record, out),
        }
    }
}
