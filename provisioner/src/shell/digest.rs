//! SHA-256 of a file's bytes, as `sha256sum` prints it.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

/// Digest of everything `input` gives, in hex.
pub(crate) fn sha256_of(input: &mut dyn Read) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match input.read(&mut buffer)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            n => hasher.update(&buffer[..n]),
        }
    }
}
