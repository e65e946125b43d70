//! The four places minik writes to on the host.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use directories::BaseDirs;
use minik_spec::ProfileName;

use super::{ProfileFolder, make_private_folder};
use crate::error::{ProvisionError, Result};

/// The longest path of the folder for sockets: `/<machine>/<socket>` must fit behind it in the 107
/// bytes a socket's path may have.
const RUN_LENGTH_MAX: usize = 70;

/// Where state, cache, settings and sockets are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folders {
    /// Clusters: disks, keys, profiles. Losing it loses them.
    pub data: PathBuf,
    /// Downloads. May be deleted at any time.
    pub cache: PathBuf,
    /// The user's settings.
    pub config: PathBuf,
    /// Sockets. Emptied by the host's boot.
    pub run: PathBuf,
}

impl Folders {
    /// From `MINIK_HOME`, or else where this system keeps such things (XDG on Linux). The folder for
    /// sockets is made; the others when first written to.
    pub fn from_env() -> Result<Folders> {
        let folders = match env::var_os("MINIK_HOME").filter(|home| !home.is_empty()) {
            Some(home) => {
                let home = PathBuf::from(home);
                Folders::below(&std::path::absolute(&home).unwrap_or(home))
            }
            None => {
                let base = BaseDirs::new().ok_or(ProvisionError::NoHome)?;
                Folders {
                    data: base.data_local_dir().join("minik"),
                    cache: base.cache_dir().join("minik"),
                    config: base.config_dir().join("minik"),
                    run: base.runtime_dir().map_or_else(per_user, |dir| dir.join("minik")),
                }
            }
        };
        make_private_folder(&folders.run)?;
        is_ours_alone(&folders.run)?;
        Ok(folders)
    }

    /// All four below one folder, as with `MINIK_HOME`; sockets elsewhere if their paths would get
    /// too long.
    pub fn below(home: &Path) -> Folders {
        let run = home.join("run");
        let too_long = run.as_os_str().len() > RUN_LENGTH_MAX;
        Folders {
            data: home.join("data"),
            cache: home.join("cache"),
            config: home.join("config"),
            run: if too_long { per_user().join(short_name(home)) } else { run },
        }
    }

    /// The folder of one profile.
    pub fn profile(&self, name: &ProfileName) -> ProfileFolder {
        ProfileFolder::new(self.data.join("profiles").join(name.as_str()))
    }

    /// Names of all profiles that have a folder, sorted; what else lies there is left out.
    pub fn profile_names(&self) -> Result<Vec<ProfileName>> {
        let folder = self.data.join("profiles");
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(err) => return Err(ProvisionError::state("read", folder)(err)),
        };
        let mut names: Vec<ProfileName> =
            entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
        names.sort();
        Ok(names)
    }

    /// The folder for sockets of one machine: short, and the same on every start.
    pub fn machine_run(&self, profile: &ProfileName, machine: &str) -> PathBuf {
        let hash = minik_driver::stable_hash(&["run", profile.as_str(), machine]);
        self.run.join(format!("m{:010x}", hash >> 24))
    }

    pub(super) fn lock(&self, name: &ProfileName) -> PathBuf {
        self.data.join("locks").join(format!("{name}.lock"))
    }
}

fn short_name(home: &Path) -> String {
    let hash = minik_driver::stable_hash(&["home", &home.to_string_lossy()]);
    format!("h{:010x}", hash >> 24)
}

#[cfg(unix)]
fn per_user() -> PathBuf {
    env::temp_dir().join(format!("minik-{}", rustix::process::geteuid().as_raw()))
}

#[cfg(not(unix))]
fn per_user() -> PathBuf {
    env::temp_dir().join("minik")
}

/// A folder in a place where everybody may write could be somebody else's trap.
#[cfg(unix)]
fn is_ours_alone(path: &Path) -> Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    let facts = fs::symlink_metadata(path).map_err(ProvisionError::state("read", path))?;
    let refuse = |reason| Err(ProvisionError::UnsafeFolder { path: path.to_owned(), reason });
    if !facts.is_dir() {
        return refuse("is not a folder");
    }
    if facts.uid() != rustix::process::geteuid().as_raw() {
        return refuse("belongs to another user");
    }
    if facts.permissions().mode() & 0o022 != 0 {
        return refuse("can be written by other users");
    }
    Ok(())
}

#[cfg(not(unix))]
fn is_ours_alone(_: &Path) -> Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_home_holds_all_four() {
        let folders = Folders::below(Path::new("/h"));
        assert_eq!(folders.run, Path::new("/h/run"));
        let dev = "dev".parse().unwrap();
        assert_eq!(folders.profile(&dev).path(), Path::new("/h/data/profiles/dev"));
        assert_ne!(folders.machine_run(&dev, "dev"), folders.machine_run(&dev, "dev-m02"));
    }

    #[test]
    fn socket_paths_stay_short() {
        let deep = "/home/somebody/with-a-long-name/and/a/deep/folder/for/all/of/their/experiments";
        let folders = Folders::below(Path::new(deep));
        let socket = folders.machine_run(&"dev".parse().unwrap(), "dev").join("agent.sock");
        assert!(socket.as_os_str().len() < 100, "{socket:?}");
        assert!(folders.data.starts_with(deep));
    }

    #[test]
    fn other_files_are_no_profiles() {
        let dir = tempfile::tempdir().unwrap();
        let folders = Folders::below(dir.path());
        assert_eq!(folders.profile_names().unwrap(), []);
        for name in ["zoo", "dev", "Not One", ".hidden"] {
            fs::create_dir_all(folders.data.join("profiles").join(name)).unwrap();
        }
        let names: Vec<String> =
            folders.profile_names().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["dev", "zoo"]);
    }
}
