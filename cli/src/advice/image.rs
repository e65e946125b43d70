//! Advice for guest images that could not be had or must not be used.

use minik_image::ImageError;

use crate::exit::Exit;
use crate::report::Report;

/// Id, exit code and advice of an image's error.
pub(crate) fn image(err: &ImageError) -> Report {
    use ImageError as E;
    let report = |id, exit| Report::of(id, exit, err);
    match err {
        E::NoSource => Report::new("HOST_IMAGE_SOURCE", Exit::CONFIG, "no guest image is named")
            .advise("build one: `make guest-image`")
            .advise(
                "or name one: --guest-image-url URL, MINIK_IMAGE_URL=URL or \
                 `minik config set guest-image-url URL`",
            ),
        E::BadSource { .. } => report("HOST_IMAGE_SOURCE", Exit::CONFIG)
            .advise("write the address of a manifest: https://…/manifest.json or a path"),
        E::Offline { .. } => report("INET_OFFLINE", Exit::INTERNET_UNAVAILABLE)
            .advise("fetch it once without `--offline`: `minik start --download-only`"),
        E::Status { .. } => report("INET_IMAGE_NOT_FOUND", Exit::INTERNET_NOT_FOUND)
            .advise("look at the address: is the image published there?"),
        E::Unreachable { .. } | E::EveryMirror { .. } => {
            report("INET_IMAGE_DOWNLOAD", Exit::INTERNET_ERROR)
                .advise("run it again: what has arrived is kept and continued")
                .advise("behind a proxy, set HTTPS_PROXY")
        }
        E::Size { .. } | E::Digest { .. } => report("INET_IMAGE_DAMAGED", Exit::INTERNET_ERROR)
            .advise("nothing of it was kept; run it again, or choose another mirror"),
        E::Signature { .. } => report("HOST_IMAGE_SIGNATURE", Exit::HOST_ERROR)
            .advise("trust the builder's key by naming it: MINIK_IMAGE_KEY=FILE.pub")
            .advise("if you did not expect this, do not use the image"),
        E::Manifest { .. } => report("HOST_IMAGE_MANIFEST", Exit::HOST_ERROR)
            .advise("the image may be for a newer minik"),
        E::DiskFull { .. } => report("RSRC_HOST_STORAGE", Exit::STORAGE)
            .advise("make room there, or set MINIK_HOME to another file system"),
        E::File { .. } => report("HOST_IO", Exit::HOST_ERROR),
        E::Kernel { .. } | E::SeedTooLarge { .. } => report("HOST_IMAGE", Exit::HOST_ERROR),
        E::Key { .. } => report("HOST_IMAGE_KEY", Exit::CONFIG)
            .advise("a key is a file in minisign's form, with the ending .pub"),
        _ => report("HOST_IMAGE", Exit::HOST_ERROR),
    }
}
