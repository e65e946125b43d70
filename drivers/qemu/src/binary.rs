//! Which QEMU is used when there are several.

use std::path::{Path, PathBuf};

use minik_driver::{DriverError, Host, Result, Tool};

use crate::version::{OLDEST, QemuVersion, SOUND_EMULATION};

const SYSTEM: &str = "qemu-system-x86_64";
const IMG: &str = "qemu-img";
/// Names the program `qemu-system-x86_64` to use.
pub(crate) const VARIABLE: &str = "MINIK_QEMU";

/// The programs that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binaries {
    pub(crate) system: PathBuf,
    pub(crate) img: PathBuf,
    pub(crate) version: QemuVersion,
    /// The version as QEMU says it.
    pub(crate) said: String,
}

/// The QEMU the user names, or the first of the tool folders and PATH that can emulate the guest
/// soundly, or the first at all.
pub(crate) fn find(
    host: &dyn Host,
    named: Option<&Path>,
    tool_dirs: &[PathBuf],
) -> Result<Binaries> {
    let named = host.env(VARIABLE).map(PathBuf::from).or(named.map(Path::to_owned));
    if let Some(named) = named {
        if !host.exists(&named) {
            let tool = SYSTEM.to_owned();
            return Err(DriverError::ToolMissing { tool, looked_in: vec![named] });
        }
        return examine(host, named);
    }
    let mut found = Vec::new();
    let mut failed = None;
    let in_dirs = tool_dirs.iter().map(|dir| dir.join(SYSTEM)).filter(|file| host.exists(file));
    for file in in_dirs.chain(host.find_tools(SYSTEM)) {
        match examine(host, file) {
            Ok(sound) if sound.version >= SOUND_EMULATION => return Ok(sound),
            Ok(other) => found.push(other),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    let missing =
        || DriverError::ToolMissing { tool: SYSTEM.to_owned(), looked_in: tool_dirs.to_vec() };
    found.into_iter().next().ok_or_else(|| failed.unwrap_or_else(missing))
}

fn examine(host: &dyn Host, system: PathBuf) -> Result<Binaries> {
    let output = host.run(&Tool::new(&system).args(["--version"]))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let said = said.lines().next().unwrap_or_default().to_owned();
    let Some(version) = QemuVersion::parse(&said) else {
        return Err(DriverError::ToolAnswer { tool: SYSTEM.to_owned(), answer: said });
    };
    if version < OLDEST {
        let (version, needs) = (version.to_string(), OLDEST.to_string());
        return Err(DriverError::EmulatorTooOld { version, needs });
    }
    let beside = system.with_file_name(IMG);
    let img =
        if host.exists(&beside) { Some(beside) } else { host.find_tools(IMG).into_iter().next() };
    let Some(img) = img else {
        return Err(DriverError::ToolMissing { tool: IMG.to_owned(), looked_in: Vec::new() });
    };
    Ok(Binaries { system, img, version, said })
}

#[cfg(test)]
mod tests {
    use minik_driver::ScriptedHost;

    use super::*;

    fn host(programs: &[(&str, &str)]) -> ScriptedHost {
        let host = ScriptedHost::new();
        host.file("/usr/bin/qemu-img", "");
        for (path, version) in programs {
            host.file(*path, version);
        }
        host
    }

    /// The script cannot tell two programs of one name apart, so it answers in the order asked.
    fn answers(host: &ScriptedHost, versions: &[&str]) {
        for version in versions {
            let said = format!("QEMU emulator version {version} (some builder)\n");
            host.answer("qemu-system-x86_64 --version", &said);
        }
    }

    fn found(host: &ScriptedHost, named: Option<&str>, dirs: &[&str]) -> String {
        let dirs: Vec<_> = dirs.iter().map(PathBuf::from).collect();
        match find(host, named.map(Path::new), &dirs) {
            Ok(found) => {
                format!("{} {} with {}", found.system.display(), found.version, found.img.display())
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_sound_one_is_preferred_wherever_it_is() {
        let both = host(&[("/tools/qemu-system-x86_64", ""), ("/usr/bin/qemu-system-x86_64", "")]);
        answers(&both, &["7.2.22", "10.0.2"]);
        assert_eq!(
            found(&both, None, &["/tools"]),
            "/usr/bin/qemu-system-x86_64 10.0.2 with /usr/bin/qemu-img"
        );

        let old = host(&[("/usr/bin/qemu-system-x86_64", "")]);
        answers(&old, &["7.2.22"]);
        assert_eq!(
            found(&old, None, &["/tools"]),
            "/usr/bin/qemu-system-x86_64 7.2.22 with /usr/bin/qemu-img"
        );
    }

    #[test]
    fn the_named_one_is_used_or_missed() {
        let host = host(&[
            ("/opt/q/qemu-system-x86_64", ""),
            ("/opt/q/qemu-img", ""),
            ("/usr/bin/qemu-system-x86_64", ""),
        ]);
        answers(&host, &["7.2.0"]);
        assert_eq!(
            found(&host, Some("/opt/q/qemu-system-x86_64"), &[]),
            "/opt/q/qemu-system-x86_64 7.2.0 with /opt/q/qemu-img"
        );
        host.set_env(VARIABLE, "/no/qemu");
        assert_eq!(
            found(&host, None, &[]),
            "`qemu-system-x86_64` was not found on PATH nor in /no/qemu"
        );
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        assert_eq!(
            found(&host(&[]), None, &["/tools"]),
            "`qemu-system-x86_64` was not found on PATH nor in /tools"
        );
        let ancient = host(&[("/usr/bin/qemu-system-x86_64", "")]);
        answers(&ancient, &["5.2.0"]);
        assert_eq!(found(&ancient, None, &[]), "QEMU 5.2.0 is too old, 6.2.0 or later is needed");
    }
}
