//! Writes the quickstart's web app as an image archive: `web-image TO.tar`.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(to) = std::env::args_os().nth(1) else {
        fail("which file shall the image be written to?");
        return ExitCode::FAILURE;
    };
    let made = minik_e2e::image::web(Path::new("/bin/busybox"))
        .and_then(|image| image.write(Path::new(&to)));
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            fail(&format!("{}: {err}", Path::new(&to).display()));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "a tool of the build with nobody else to tell")]
fn fail(words: &str) {
    eprintln!("web-image: {words}");
}
