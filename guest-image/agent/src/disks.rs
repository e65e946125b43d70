//! Finds disks by what they are, never by letter: by virtio serial or by the label of their file system.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// The read-only root (erofs).
pub(crate) const ROOT: &str = "minik-root";
/// The writable disk (ext4).
pub(crate) const DATA: &str = "minik-data";
/// The Docker layer (erofs), when attached.
pub(crate) const DOCKER: &str = "minik-docker";
/// The label of the seed volume, as NoCloud names it.
pub(crate) const SEED_LABEL: &str = "CIDATA";

/// Less is not worth the time of a boot.
const GROWTH_BYTES_MIN: u64 = 64 << 20;

/// A disk of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Disk {
    pub(crate) node: PathBuf,
    pub(crate) serial: String,
}

/// What the first bytes of a disk say it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Ext4,
    /// FAT with its volume label.
    Fat(String),
    /// ISO 9660 with its volume label.
    Iso(String),
    Erofs,
    /// No file system that we know.
    Unknown,
}

/// All whole disks, in the kernel's order.
pub(crate) fn all() -> Vec<Disk> {
    let mut disks: Vec<Disk> = fs::read_dir("/sys/block")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| Disk {
            node: Path::new("/dev").join(entry.file_name()),
            serial: fs::read_to_string(entry.path().join("serial"))
                .map(|serial| serial.trim().to_owned())
                .unwrap_or_default(),
        })
        .collect();
    disks.sort_by(|a, b| a.node.cmp(&b.node));
    disks
}

/// The disk with this virtio serial.
pub(crate) fn by_serial(disks: &[Disk], serial: &'static str) -> Result<Disk, Error> {
    disks.iter().find(|disk| disk.serial == serial).cloned().ok_or_else(|| Error::NoDisk {
        serial,
        present: disks.iter().map(|d| format!("{} {:?}", d.node.display(), d.serial)).collect(),
    })
}

/// The disk with the seed and its kind, when one is attached.
pub(crate) fn seed(disks: &[Disk]) -> Option<(Disk, Content)> {
    disks.iter().find_map(|disk| {
        let content = content(&disk.node);
        let (Content::Fat(label) | Content::Iso(label)) = &content else { return None };
        label.eq_ignore_ascii_case(SEED_LABEL).then(|| (disk.clone(), content.clone()))
    })
}

/// Looks at the superblocks; a disk that cannot be read counts as unknown.
pub(crate) fn content(node: &Path) -> Content {
    let Ok(device) = File::open(node) else { return Content::Unknown };
    recognize(|offset, buffer| device.read_exact_at(buffer, offset).is_ok())
}

/// Recognizes a file system through `read(offset, buffer) -> whether it worked`.
fn recognize(read: impl Fn(u64, &mut [u8]) -> bool) -> Content {
    const ISO_DESCRIPTOR: u64 = 16 * 2048;
    let mut head = [0; 2048];
    if read(0, &mut head) {
        if head[1024..1028] == [0xe2, 0xe1, 0xf5, 0xe0] {
            return Content::Erofs;
        }
        if head[1080..1082] == [0x53, 0xef] {
            return Content::Ext4;
        }
        if head[510..512] == [0x55, 0xaa] && head[54..58] == *b"FAT1" {
            return Content::Fat(label(&head[43..54]));
        }
        if head[510..512] == [0x55, 0xaa] && head[82..87] == *b"FAT32" {
            return Content::Fat(label(&head[71..82]));
        }
    }
    let mut descriptor = [0; 72];
    if read(ISO_DESCRIPTOR, &mut descriptor) && descriptor[1..6] == *b"CD001" {
        return Content::Iso(label(&descriptor[40..72]));
    }
    Content::Unknown
}

/// Whether the disk is larger than the ext4 on it, by enough to be worth the time.
pub(crate) fn has_room_to_grow(disk: &Disk) -> bool {
    let Some(name) = disk.node.file_name() else { return false };
    let sectors = fs::read_to_string(Path::new("/sys/class/block").join(name).join("size"));
    let disk_bytes = sectors.ok().and_then(|n| n.trim().parse::<u64>().ok()).unwrap_or(0) * 512;
    let mut superblock = [0; 1024];
    let read =
        File::open(&disk.node).and_then(|device| device.read_exact_at(&mut superblock, 1024));
    read.is_ok() && disk_bytes >= ext4_bytes(&superblock) + GROWTH_BYTES_MIN
}

fn ext4_bytes(superblock: &[u8; 1024]) -> u64 {
    let word = |at: usize| {
        let bytes = [0, 1, 2, 3].map(|nth| superblock[at + nth]);
        u64::from(u32::from_le_bytes(bytes))
    };
    let blocks = word(4) | (word(0x150) << 32);
    // The exponent is at most 6 (64 KiB); anything else is damage, which the mount reports.
    blocks.saturating_mul(1024 << word(24).min(6))
}

fn label(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches([' ', '\0']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(put: &[(usize, &[u8])], wanted: &Content) {
        let mut disk = vec![0_u8; 64 * 1024];
        for (offset, bytes) in put {
            disk[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        let found = recognize(|offset, buffer| {
            let start = usize::try_from(offset).expect("small disk");
            buffer.copy_from_slice(&disk[start..start + buffer.len()]);
            true
        });
        assert_eq!(&found, wanted);
    }

    #[test]
    fn file_systems_are_recognized_by_their_superblocks() {
        check(&[], &Content::Unknown);
        check(&[(1080, &[0x53, 0xef])], &Content::Ext4);
        check(&[(1024, &[0xe2, 0xe1, 0xf5, 0xe0])], &Content::Erofs);
        check(
            &[(510, &[0x55, 0xaa]), (54, b"FAT12   "), (43, b"CIDATA     ")],
            &Content::Fat("CIDATA".into()),
        );
        check(
            &[(510, &[0x55, 0xaa]), (82, b"FAT32   "), (71, b"cidata     ")],
            &Content::Fat("cidata".into()),
        );
        check(&[(32769, b"CD001"), (32808, b"cidata  ")], &Content::Iso("cidata".into()));
    }

    #[test]
    fn the_size_of_an_ext4_is_in_its_superblock() {
        let mut superblock = [0; 1024];
        superblock[4..8].copy_from_slice(&5_u32.to_le_bytes());
        superblock[24..28].copy_from_slice(&2_u32.to_le_bytes());
        assert_eq!(ext4_bytes(&superblock), 5 * 4096);
        superblock[0x150..0x154].copy_from_slice(&1_u32.to_le_bytes());
        assert_eq!(ext4_bytes(&superblock), (5 + (1 << 32)) * 4096);
    }

    #[test]
    fn a_missing_disk_is_named_with_those_present() {
        let disks = [Disk { node: "/dev/vda".into(), serial: "other".into() }];
        let error = by_serial(&disks, ROOT).expect_err("not there");
        assert_eq!(
            error.to_string(),
            r#"no disk with the serial minik-root; disks here: /dev/vda "other""#
        );
    }
}
