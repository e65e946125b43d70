//! How much travels: compressed in a way the guest can unpack. Under emulation the guest takes a few MB a
//! second, so every byte that is not sent counts.

use std::io::{self, Read};

use super::{QUICK, Shell, SshError, exec};

/// How bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl Packing {
    /// The best the guest has a program for.
    pub(crate) fn best(shell: &mut dyn Shell) -> Result<Packing, SshError> {
        let found = exec(shell, "command -v zstd gzip; true", QUICK)?.stdout;
        Ok(if found.contains("zstd") {
            Packing::Zstd
        } else if found.contains("gzip") {
            Packing::Gzip
        } else {
            Packing::Plain
        })
    }

    /// What stands before the command that reads the bytes.
    pub(crate) fn unpack(self) -> &'static str {
        match self {
            Packing::Plain => "",
            Packing::Gzip => "gzip -dc | ",
            Packing::Zstd => "zstd -dcq | ",
        }
    }

    pub(crate) fn pack<'a>(self, bytes: Box<dyn Read + 'a>) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Packing::Plain => bytes,
            Packing::Gzip => {
                Box::new(flate2::read::GzEncoder::new(bytes, flate2::Compression::fast()))
            }
            Packing::Zstd => Box::new(zstd::stream::read::Encoder::new(bytes, 3)?),
        })
    }
}
