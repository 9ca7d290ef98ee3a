//! The same ciphertext under another coding: no key is needed but a writer's.

use crate::keys::Writer;
use crate::put::shard_number;
use crate::read::Cipher;
use crate::spread::{NewShard, Spread};
use crate::store::FRAME_BYTES;
use crate::{Error, Stored, Vault};
use strongroom_record::{Coding, CodingNumber, Placement, SegmentId, Time};
use strongroom_shard::Recoder;

impl Vault {
    /// Stores `segment`, whose present coding stands at `placements`, once more under `coding`. The
    /// old coding stays where it is; a registry releases it after the new one is committed. A small
    /// segment is coded by [`Coding::small`].
    #[expect(clippy::too_many_arguments, reason = "each is another thing, and none has a default")]
    pub fn recode(
        &self,
        segment: SegmentId,
        placements: &[Placement],
        coding: Coding,
        number: CodingNumber,
        writer: &Writer,
        now: Time,
        tell: &mut dyn FnMut(u64),
    ) -> Result<Stored, Error> {
        let shard = |source| Error::Shard { segment, source };
        let mut cipher = Cipher::open(self, segment, placements)?;
        let bytes = cipher.proof.plaintext_bytes();
        let coding = if bytes < strongroom_shard::SMALL_BYTES { coding.small() } else { coding };
        let mut recoder = Recoder::new(&cipher.proof, shard_number(number), coding.k(), coding.n())
            .map_err(shard)?;
        let shards = (self.choose(segment, coding, false)?.into_iter().zip(0..))
            .map(|(shelf, index)| NewShard { index, header: recoder.header(index), shelf })
            .collect();
        let mut spread = Spread::begin(self, segment, number, recoder.lanes(), shards)?;
        let mut lanes = vec![Vec::new(); recoder.lanes()];
        let total = cipher.proof.ciphertext_bytes();
        let mut buf = Vec::new();
        let mut at = 0;
        while at < total {
            let end = total.min(at + FRAME_BYTES as u64);
            buf.resize((end - at) as usize, 0);
            cipher.fill_proven(&(at..end), &mut buf)?;
            recoder.push(&buf, &mut lanes).map_err(shard)?;
            if lanes[0].len() >= FRAME_BYTES {
                spread.write(&mut lanes)?;
            }
            tell(end - at);
            at = end;
        }
        let sealed = recoder.finish(writer, &mut lanes).map_err(shard)?;
        spread.write(&mut lanes)?;
        spread.finish(&sealed.trailers, &sealed.roots)?;
        Ok(Stored { segment, bytes, coding, number, placements: spread.placements(now) })
    }
}
