//! Writes a small FAT12 volume: the form of a seed that every hypervisor can attach and every Linux can read.

use crate::error::ImageError;

const SECTOR: usize = 512;
/// 256 KiB, one sector per cluster.
const SECTORS: u16 = 512;
const FAT_SECTORS: usize = 2;
const FATS: usize = 2;
const ROOT_ENTRIES: u16 = 64;
const ENTRY: usize = 32;
const ROOT_START: usize = 1 + FATS * FAT_SECTORS;
const DATA_START: usize = ROOT_START + ROOT_ENTRIES as usize * ENTRY / SECTOR;
/// 1980-01-01, the first day of this file system: no time of this machine goes into a seed.
const FIRST_DAY: u16 = 0x21;
const END_OF_CHAIN: u16 = 0xfff;

/// A file in the volume's root folder.
pub(crate) struct FatFile<'a> {
    /// At most 26 ASCII characters; `short` is its 8.3 form.
    pub(crate) name: &'a str,
    /// Eleven characters, padded with blanks.
    pub(crate) short: &'a [u8; 11],
    pub(crate) content: &'a [u8],
}

/// The bytes of a volume with this label (padded to eleven characters) and these files.
pub(crate) fn volume(label: [u8; 11], files: &[FatFile<'_>]) -> Result<Vec<u8>, ImageError> {
    let max = (usize::from(SECTORS) - DATA_START) * SECTOR;
    let needed: usize = files.iter().map(|file| file.content.len().div_ceil(SECTOR) * SECTOR).sum();
    if needed > max {
        return Err(ImageError::SeedTooLarge { actual: needed, max });
    }
    let mut image = vec![0; usize::from(SECTORS) * SECTOR];
    image[..SECTOR].copy_from_slice(&boot_sector(label));

    let mut fat = vec![0xff8, END_OF_CHAIN];
    let mut root = folder_entry(&label, 0x08, 0, 0).to_vec();
    for file in files {
        let clusters = file.content.len().div_ceil(SECTOR);
        let first = if clusters == 0 { 0 } else { cluster(fat.len()) };
        let start = (DATA_START + fat.len() - 2) * SECTOR;
        image[start..start + file.content.len()].copy_from_slice(file.content);
        for nth in 1..=clusters {
            let next = if nth == clusters { END_OF_CHAIN } else { cluster(fat.len() + 1) };
            fat.push(next);
        }
        root.extend(long_name(file.name, file.short));
        root.extend(folder_entry(file.short, 0x20, first, file.content.len()));
    }
    let table = pack12(&fat);
    for nth in 0..FATS {
        let start = (1 + nth * FAT_SECTORS) * SECTOR;
        image[start..start + table.len()].copy_from_slice(&table);
    }
    let start = ROOT_START * SECTOR;
    image[start..start + root.len()].copy_from_slice(&root);
    Ok(image)
}

fn cluster(index: usize) -> u16 {
    u16::try_from(index).expect("the volume has 512 sectors")
}

fn boot_sector(label: [u8; 11]) -> [u8; SECTOR] {
    let mut sector = [0; SECTOR];
    let mut put = |at: usize, bytes: &[u8]| sector[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &[0xeb, 0x3c, 0x90]);
    put(3, b"minik   ");
    put(11, &512_u16.to_le_bytes());
    put(13, &[1]); // sectors per cluster
    put(14, &1_u16.to_le_bytes()); // reserved sectors
    put(16, &[2]); // FATs
    put(17, &ROOT_ENTRIES.to_le_bytes());
    put(19, &SECTORS.to_le_bytes());
    put(21, &[0xf8]); // a fixed disk
    put(22, &[2, 0]); // sectors per FAT
    put(24, &32_u16.to_le_bytes()); // sectors per track
    put(26, &2_u16.to_le_bytes()); // heads
    put(36, &[0x80, 0, 0x29]);
    put(39, b"SEED"); // volume id
    put(43, &label);
    put(54, b"FAT12   ");
    put(510, &[0x55, 0xaa]);
    sector
}

fn folder_entry(short: &[u8; 11], attributes: u8, first: u16, length: usize) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    entry[..11].copy_from_slice(short);
    entry[11] = attributes;
    entry[16..18].copy_from_slice(&FIRST_DAY.to_le_bytes());
    entry[18..20].copy_from_slice(&FIRST_DAY.to_le_bytes());
    entry[24..26].copy_from_slice(&FIRST_DAY.to_le_bytes());
    entry[26..28].copy_from_slice(&first.to_le_bytes());
    entry[28..32].copy_from_slice(&u32::try_from(length).expect("fits the volume").to_le_bytes());
    entry
}

/// The entries that carry a long name, last part first, as the format wants it.
fn long_name(name: &str, short: &[u8; 11]) -> Vec<u8> {
    const PLACES: [usize; 13] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];
    let checksum = short.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
    let units: Vec<u16> = name.encode_utf16().collect();
    let parts: Vec<&[u16]> = units.chunks(PLACES.len()).collect();
    let mut entries = Vec::new();
    for (index, part) in parts.iter().enumerate().rev() {
        let mut entry = [0_u8; ENTRY];
        let last = if index + 1 == parts.len() { 0x40 } else { 0 };
        entry[0] = u8::try_from(index + 1).expect("two parts at most") | last;
        entry[11] = 0x0f;
        entry[13] = checksum;
        for (nth, place) in PLACES.iter().enumerate() {
            // After the name one zero, then nothing.
            let unit = match nth.cmp(&part.len()) {
                std::cmp::Ordering::Less => part[nth],
                std::cmp::Ordering::Equal => 0,
                std::cmp::Ordering::Greater => 0xffff,
            };
            entry[*place..place + 2].copy_from_slice(&unit.to_le_bytes());
        }
        entries.extend(entry);
    }
    entries
}

/// Two twelve-bit numbers in three bytes.
fn pack12(numbers: &[u16]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(numbers.len() * 3 / 2 + 2);
    for pair in numbers.chunks(2) {
        let (a, b) = (pair[0], pair.get(1).copied().unwrap_or(0));
        let [a0, a1] = a.to_le_bytes();
        let [b0, b1] = b.to_le_bytes();
        bytes.extend([a0, a1 | (b0 << 4), (b0 >> 4) | (b1 << 4)]);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a file back by following its chain, with nothing shared with the writer but the format.
    fn read(image: &[u8], short: &[u8; 11]) -> Vec<u8> {
        let half = |at: usize| usize::from(u16::from_le_bytes([image[at], image[at + 1]]));
        let (reserved, fats, entries, fat_sectors) =
            (half(14), usize::from(image[16]), half(17), half(22));
        let root = (reserved + fats * fat_sectors) * 512;
        let entry = (0..entries)
            .map(|nth| root + nth * 32)
            .find(|at| &image[*at..at + 11] == short && image[at + 11] == 0x20)
            .expect("in the folder");
        let length =
            u32::from_le_bytes(image[entry + 28..entry + 32].try_into().expect("four bytes"));
        let mut cluster = half(entry + 26);
        let mut content = Vec::new();
        while (2..0xff8).contains(&cluster) {
            let start = root + entries * 32 + (cluster - 2) * 512;
            content.extend_from_slice(&image[start..start + 512]);
            let at = reserved * 512 + cluster * 3 / 2;
            let pair = half(at);
            cluster = if cluster % 2 == 0 { pair & 0xfff } else { pair >> 4 };
        }
        content.truncate(length as usize);
        content
    }

    #[test]
    fn what_is_written_can_be_read_along_the_chains() {
        let long: Vec<u8> = (0..5000_u32).map(|n| u8::try_from(n % 251).expect("small")).collect();
        let files = [
            FatFile { name: "meta-data", short: b"METADA~1   ", content: b"one" },
            FatFile { name: "user-data", short: b"USERDA~1   ", content: &long },
            FatFile { name: "network-config", short: b"NETWOR~1   ", content: b"" },
        ];
        let image = volume(*b"CIDATA     ", &files).expect("fits");
        assert_eq!(image.len(), 256 * 1024);
        for file in &files {
            assert_eq!(read(&image, file.short), file.content, "{}", file.name);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let content = vec![0; 300 * 1024];
        let files = [FatFile { name: "user-data", short: b"USERDA~1   ", content: &content }];
        let error = volume(*b"CIDATA     ", &files).expect_err("too large");
        assert_eq!(error.to_string(), "the seed is 307200 bytes, 257536 fit");
    }
}
