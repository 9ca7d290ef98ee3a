//! The writing side of a connection.

use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::{Carried, Ended, lock};
use crate::buffers::{WRITE_BYTES, WriteBuffer};
use crate::frame::{FRAME_BYTES_MAX, Frame};
use crate::lane::{CHUNK_BYTES, Sending};
use crate::sync::atomic::Ordering;
use crate::tls::{self, RECORD_BYTES_MAX, RECORD_OVERHEAD, RECORD_PLAIN_MAX, Sealer, sealed_bytes};

/// Pieces of a message that are copied to stand in one record with their head; larger ones are sealed where they lie.
const COPY_BYTES_MAX: usize = 4096;

impl Carried<'_> {
    pub(super) async fn write(
        &self,
        mut write: std::pin::Pin<&mut impl AsyncWrite>,
        sealing: &mut Sealing,
    ) -> Ended {
        loop {
            let more = self.shared.write.notified();
            tokio::pin!(more);
            more.as_mut().enable();
            if let Err(ended) = self.fill(sealing) {
                return ended;
            }
            if sealing.at == 0 {
                sealing.buffer = None;
                more.await;
                continue;
            }
            while let rest @ [_, ..] = sealing.rest() {
                match write.write(rest).await {
                    Ok(0) => return Ended::Cut,
                    Ok(n) => sealing.written += n,
                    Err(error) => return error.into(),
                }
            }
            if let Err(error) = write.flush().await {
                return error.into();
            }
        }
    }

    /// Seals what there is to say, as much as goes out at once.
    fn fill(&self, sealing: &mut Sealing) -> Result<(), Ended> {
        (sealing.at, sealing.written) = (0, 0);
        while sealing.has_room()
            && let Some(answer) = lock(&self.answers).pop_front()
        {
            sealing.frame(&answer)?;
        }
        let (ack, credit) = {
            let mut inbox = self.inbox()?;
            (inbox.half.ack(self.connection), inbox.half.credit())
        };
        for frame in [ack, credit].into_iter().flatten() {
            sealing.frame(&frame)?;
        }
        while sealing.has_room() {
            let next = self.outbox()?.half.next(self.connection);
            match next {
                None => break,
                Some(Sending::Where(question, sequences)) => {
                    self.shared.resumes.fetch_add(sequences.len() as u64, Ordering::Relaxed);
                    sealing.frame(&Frame::Where { question, sequences })?;
                }
                Some(Sending::Want { least, most }) => {
                    sealing.frame(&Frame::Want { least, most })?
                }
                Some(Sending::Back(unused)) => sealing.frame(&Frame::Back { unused })?,
                Some(Sending::Data(head, parts)) => {
                    sealing.frame(&Frame::Data(head))?;
                    for part in &parts {
                        sealing.bytes(part)?;
                    }
                }
            }
        }
        sealing.seal()?;
        Ok(())
    }
}

/// What is sealed to be written at once.
pub(super) struct Sealing {
    sealer: Sealer,
    /// `None` while nothing is to be said.
    buffer: Option<WriteBuffer>,
    /// Bytes of the buffer that are sealed, and those of them that were written.
    at: usize,
    written: usize,
}

impl Sealing {
    pub(super) fn new(sealer: Sealer) -> Sealing {
        Sealing { sealer, buffer: None, at: 0, written: 0 }
    }

    /// Whether any chunk, with its head and what waits, would fit.
    fn has_room(&self) -> bool {
        WRITE_BYTES - self.at >= sealed_bytes(CHUNK_BYTES as usize) + 2 * RECORD_BYTES_MAX
    }

    fn rest(&self) -> &[u8] {
        match &self.buffer {
            Some(buffer) => &buffer.out[self.written..self.at],
            None => &[],
        }
    }

    fn frame(&mut self, frame: &Frame) -> Result<(), tls::Error> {
        if self.buffer().plain.len() + FRAME_BYTES_MAX > RECORD_PLAIN_MAX {
            self.seal()?;
        }
        frame.write(&mut self.buffer().plain);
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), tls::Error> {
        if bytes.len() <= COPY_BYTES_MAX {
            if self.buffer().plain.len() + bytes.len() > RECORD_PLAIN_MAX {
                self.seal()?;
            }
            self.buffer().plain.extend_from_slice(bytes);
            return Ok(());
        }
        self.seal()?;
        let buffer = self.buffer.get_or_insert_with(WriteBuffer::take);
        for record in bytes.chunks(RECORD_PLAIN_MAX) {
            self.at += self.sealer.seal(record, &mut buffer.out[self.at..])?;
        }
        Ok(())
    }

    /// Seals what waits.
    fn seal(&mut self) -> Result<(), tls::Error> {
        if let Some(buffer) = &mut self.buffer
            && !buffer.plain.is_empty()
        {
            self.at += self.sealer.seal(&buffer.plain, &mut buffer.out[self.at..])?;
            buffer.plain.clear();
        }
        Ok(())
    }

    fn buffer(&mut self) -> &mut WriteBuffer {
        self.buffer.get_or_insert_with(WriteBuffer::take)
    }

    /// What the peer is told at the end, behind what was begun; nothing where it knows, or cannot be told.
    pub(super) fn last_words(&mut self, ended: &Ended) -> Vec<u8> {
        let mut alert = vec![0; 2 * RECORD_OVERHEAD];
        let written = match ended {
            Ended::Tls(tls::Error::Broken { alert: why, .. }) => {
                self.sealer.abort(*why, &mut alert)
            }
            Ended::NoFrame(_) | Ended::Violation(_) => {
                self.sealer.abort(tls::ILLEGAL_PARAMETER, &mut alert)
            }
            Ended::Restarted | Ended::Closing | Ended::Replaced => self.sealer.close(&mut alert),
            _ => return Vec::new(),
        };
        match written {
            Ok(written) => [self.rest(), &alert[..written]].concat(),
            Err(_) => Vec::new(),
        }
    }
}
