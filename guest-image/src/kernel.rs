//! Gets the uncompressed kernel out of the compressed one: under emulation it boots a second faster, and nobody has to
//! download the same kernel twice.

use std::fs;
use std::path::Path;

use crate::digest;
use crate::error::{ImageError, on_file};

/// Writes the ELF inside the bzImage `vmlinuz` to `vmlinux`.
///
/// # Errors
/// [`ImageError::Kernel`] when it is not a bzImage with a zstd payload.
pub fn unpack(vmlinuz: &Path, vmlinux: &Path) -> Result<(), ImageError> {
    let bytes = fs::read(vmlinuz).map_err(on_file("read", vmlinuz))?;
    let refuse = |reason: String| ImageError::Kernel { path: vmlinuz.into(), reason };
    let payload = payload(&bytes).map_err(refuse)?;
    let mut decoder = zstd::stream::read::Decoder::with_buffer(payload)
        .map_err(|error| refuse(error.to_string()))?
        // The kernel's own unpacker gets the length in four bytes behind the one frame.
        .single_frame();
    let mut kernel = Vec::with_capacity(64 << 20);
    std::io::Read::read_to_end(&mut decoder, &mut kernel)
        .map_err(|error| refuse(error.to_string()))?;
    if !kernel.starts_with(b"\x7fELF") {
        return Err(refuse("what is inside is not an ELF file".into()));
    }
    digest::write_whole(vmlinux, 0o644, &kernel)
}

/// The compressed part, found through the boot protocol's header.
fn payload(image: &[u8]) -> Result<&[u8], String> {
    let word = |at: usize| {
        image
            .get(at..at + 4)
            .and_then(|bytes| bytes.try_into().ok())
            .map(u32::from_le_bytes)
            .ok_or_else(|| "it is too short".to_owned())
    };
    if image.get(0x202..0x206) != Some(b"HdrS") {
        return Err("it has no boot header".into());
    }
    let sectors = match image[0x1f1] {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let start = (sectors + 1) * 512 + word(0x248)? as usize;
    let payload = image
        .get(start..start + word(0x24c)? as usize)
        .ok_or("its payload lies outside of the file")?;
    if !payload.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return Err("its payload is not compressed with zstd".into());
    }
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bz_image(content: &[u8]) -> Vec<u8> {
        let mut payload = zstd::encode_all(content, 1).expect("compresses");
        payload.extend(u32::try_from(content.len()).expect("small").to_le_bytes());
        let mut image = vec![0; 2 * 512];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x248..0x24c].copy_from_slice(&0_u32.to_le_bytes());
        image[0x24c..0x250]
            .copy_from_slice(&u32::try_from(payload.len()).expect("small").to_le_bytes());
        image.extend(payload);
        image
    }

    fn check(image: &[u8], wanted: Result<&[u8], &str>) {
        let folder = tempfile::tempdir().expect("a folder");
        let (packed, unpacked) = (folder.path().join("vmlinuz"), folder.path().join("vmlinux"));
        fs::write(&packed, image).expect("written");
        match (unpack(&packed, &unpacked), wanted) {
            (Ok(()), Ok(content)) => assert_eq!(fs::read(unpacked).expect("there"), content),
            (Err(error), Err(reason)) => {
                assert!(error.to_string().ends_with(reason), "{error}");
                assert!(!unpacked.exists(), "nothing is left behind");
            }
            (outcome, _) => panic!("{outcome:?}"),
        }
    }

    #[test]
    fn the_kernel_inside_comes_out() {
        check(&bz_image(b"\x7fELF and more"), Ok(b"\x7fELF and more"));
    }

    #[test]
    fn anything_else_is_refused_with_the_reason() {
        check(b"short", Err("it has no boot header"));
        check(&bz_image(b"text"), Err("what is inside is not an ELF file"));
        let whole = bz_image(b"\x7fELF");
        check(&whole[..whole.len() - 2], Err("its payload lies outside of the file"));
        let mut gzip = whole;
        gzip[1024] = 0x1f;
        check(&gzip, Err("its payload is not compressed with zstd"));
    }
}
