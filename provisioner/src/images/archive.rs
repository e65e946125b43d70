//! An image archive on the host: a tar of `docker save` or an OCI layout, plain or compressed, or an
//! OCI layout's folder. Seen as a list of files, read in order.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Where the files are.
pub(crate) enum Archive {
    Tar(PathBuf),
    Folder(PathBuf),
}

/// Documents in an archive are small; what claims to be larger is no archive of images.
pub(crate) const DOCUMENT_MAX: u64 = 4 << 20;

impl Archive {
    pub(crate) fn open(path: &Path) -> io::Result<Archive> {
        let path = path.to_owned();
        Ok(if fs::metadata(&path)?.is_dir() { Archive::Folder(path) } else { Archive::Tar(path) })
    }

    /// Calls `visit` with name, size and content of each file.
    pub(crate) fn each(
        &self,
        visit: &mut dyn FnMut(&str, u64, &mut dyn Read) -> io::Result<()>,
    ) -> io::Result<()> {
        match self {
            Archive::Tar(path) => {
                let mut tar = tar::Archive::new(unpacked(File::open(path)?)?);
                for (number, entry) in tar.entries()?.enumerate() {
                    // The reader's own words quote the file, which may be anything.
                    let broken =
                        |_| io::Error::other(format!("entry {number} of the tar is damaged"));
                    let foreign = |_| io::Error::other("it is no tar, plain, gzip or zstd");
                    let mut entry =
                        if number == 0 { entry.map_err(foreign) } else { entry.map_err(broken) }?;
                    if entry.header().entry_type().is_file() {
                        let name = entry.path()?.to_string_lossy().into_owned();
                        let size = entry.size();
                        visit(name.trim_start_matches("./"), size, &mut entry)?;
                    }
                }
                Ok(())
            }
            Archive::Folder(path) => {
                let mut names = Vec::new();
                collect(path, "", &mut names)?;
                for name in names {
                    let mut file = File::open(path.join(&name))?;
                    let size = file.metadata()?.len();
                    visit(&name, size, &mut file)?;
                }
                Ok(())
            }
        }
    }
}

fn collect(root: &Path, below: &str, names: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(below))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let name = if below.is_empty() { name } else { format!("{below}/{name}") };
        if entry.file_type()?.is_dir() {
            collect(root, &name, names)?;
        } else {
            names.push(name);
        }
    }
    names.sort();
    Ok(())
}

/// By the first bytes, not by the file's name.
fn unpacked(mut file: File) -> io::Result<Box<dyn Read>> {
    let mut magic = [0; 4];
    let known = file.read(&mut magic)?;
    file.seek(SeekFrom::Start(0))?;
    let file = BufReader::with_capacity(1 << 18, file);
    Ok(match &magic[..known] {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::stream::read::Decoder::with_buffer(file)?),
        _ => Box::new(file),
    })
}
