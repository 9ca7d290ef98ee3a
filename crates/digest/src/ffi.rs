//! aws-lc's hashing contexts behind a safe face.
//!
//! The contexts are plain structs of integers without pointers, so they may be copied and sent. What
//! aws-lc relies on is that `num`, the fill of the block buffer, is below the block size: it is set
//! here only to the length of a tail that was checked against it.

use std::ffi::c_void;
use std::mem::MaybeUninit;

use aws_lc_sys::{
    MD5_CTX, MD5_Final, MD5_Init, MD5_Update, SHA_CTX, SHA1_Final, SHA1_Init, SHA1_Update,
    SHA224_Final, SHA224_Init, SHA224_Update, SHA256_CTX, SHA256_Final, SHA256_Init, SHA256_Update,
    SHA384_Final, SHA384_Init, SHA384_Update, SHA512_CTX, SHA512_Final, SHA512_Init, SHA512_Update,
};

use crate::Algorithm;

macro_rules! contexts {
    ($($name:ident, $context:ty, $word:ty, $buffer:ident, $init:ident, $update:ident, $end:ident;)*) => {
        /// A running hash.
        #[derive(Clone)]
        pub(crate) enum Context {
            $($name($context)),*
        }

        impl Context {
            pub(crate) fn new(algorithm: Algorithm) -> Context {
                match algorithm {
                    $(Algorithm::$name => {
                        let mut context = MaybeUninit::<$context>::zeroed();
                        // SAFETY: the pointer is to a whole context; all zeros are a valid one, for
                        // it consists of integers.
                        Context::$name(unsafe {
                            $init(context.as_mut_ptr());
                            context.assume_init()
                        })
                    })*
                }
            }

            /// The context that [`Context::chain`] and [`Context::tail`] were taken from, after
            /// `bytes` bytes.
            ///
            /// # Panics
            /// When `chain` or `tail` has another length than the algorithm and `bytes` ask for.
            pub(crate) fn resume(
                algorithm: Algorithm,
                bytes: u64,
                chain: &[u8],
                tail: &[u8],
            ) -> Context {
                assert_eq!(chain.len(), algorithm.chain_size(), "chaining words");
                assert_eq!(tail.len() as u64, bytes % algorithm.block_size() as u64, "tail");
                let bits = u128::from(bytes) * 8;
                let mut resumed = Context::new(algorithm);
                match &mut resumed {
                    $(Context::$name(context) => {
                        let (words, _) = chain.as_chunks();
                        for (word, bytes) in context.h.iter_mut().zip(words) {
                            *word = <$word>::from_le_bytes(*bytes);
                        }
                        context.Nl = bits as $word;
                        context.Nh = (bits >> <$word>::BITS) as $word;
                        context.$buffer[..tail.len()].copy_from_slice(tail);
                        context.num = tail.len() as u32;
                    })*
                }
                resumed
            }

            pub(crate) fn algorithm(&self) -> Algorithm {
                match self {
                    $(Context::$name(_) => Algorithm::$name),*
                }
            }

            pub(crate) fn update(&mut self, bytes: &[u8]) {
                let (data, len) = (bytes.as_ptr().cast::<c_void>(), bytes.len());
                match self {
                    $(Context::$name(context) => {
                        // SAFETY: the context was initialised; `data` is readable for `len` bytes.
                        unsafe { $update(context, data, len) };
                    })*
                }
            }

            /// Ends the hash; the digest is the first [`Algorithm::size`] bytes.
            pub(crate) fn finish(mut self) -> [u8; 64] {
                let mut out = [0; 64];
                match &mut self {
                    $(Context::$name(context) => {
                        // SAFETY: the context was initialised; no digest exceeds 64 bytes.
                        unsafe { $end(out.as_mut_ptr(), context) };
                    })*
                }
                out
            }

            /// How many bytes were hashed so far.
            pub(crate) fn bytes(&self) -> u64 {
                match self {
                    $(Context::$name(context) => {
                        let bits = u128::from(context.Nh) << <$word>::BITS | u128::from(context.Nl);
                        (bits / 8) as u64
                    })*
                }
            }

            /// The chaining words, each little-endian, appended to `out`.
            pub(crate) fn chain(&self, out: &mut Vec<u8>) {
                match self {
                    $(Context::$name(context) => {
                        out.extend(context.h.iter().flat_map(|word| word.to_le_bytes()));
                    })*
                }
            }

            /// What waits for the rest of its block.
            pub(crate) fn tail(&self) -> &[u8] {
                match self {
                    $(Context::$name(context) => &context.$buffer[..context.num as usize]),*
                }
            }
        }
    };
}

contexts! {
    Md5, MD5_CTX, u32, data, MD5_Init, MD5_Update, MD5_Final;
    Sha1, SHA_CTX, u32, data, SHA1_Init, SHA1_Update, SHA1_Final;
    Sha224, SHA256_CTX, u32, data, SHA224_Init, SHA224_Update, SHA224_Final;
    Sha256, SHA256_CTX, u32, data, SHA256_Init, SHA256_Update, SHA256_Final;
    Sha384, SHA512_CTX, u64, p, SHA384_Init, SHA384_Update, SHA384_Final;
    Sha512, SHA512_CTX, u64, p, SHA512_Init, SHA512_Update, SHA512_Final;
}
