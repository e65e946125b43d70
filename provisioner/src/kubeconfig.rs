//! The user's kubeconfig: one entry per cluster is put in and taken out; all else stays as it is.
//!
//! Files follow kubectl's rules: `$KUBECONFIG` is a list; what a file defines is changed there, what
//! none defines goes to the first file that exists, or to the last of the list when none does.

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use minik_pki::{Entry, Kubeconfig};

use crate::certificates::Authorities;
use crate::error::{ProvisionError, Result};
use crate::phase::kubeconfig as entry;
use crate::state::{Profile, make_private_folder, write_private};
use crate::tools::Tools;

/// The kubeconfig files of this user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubeconfigFiles {
    paths: Vec<PathBuf>,
}

/// Writes the cluster's entry anew and makes it the current context; false when that was so already.
///
/// # Errors
/// The cluster was never started, its machine does not run, or a file cannot be written.
pub fn update_context(tools: &Tools<'_>, profile: &Profile) -> Result<bool> {
    let (authorities, _) = Authorities::ensure(&profile.folder.pki(), &profile.spec)?;
    // Certificates stay where the entry has them: inside, or in files.
    let embed_certs = !tools.kubeconfig.refers_to_files(profile.name().as_str())?;
    let how = entry::EntryOptions { embed_certs, switch: true, namespace: None };
    Ok(entry::write(tools, profile, &authorities, &how)?.changed)
}

/// What putting an entry in has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Put {
    /// Whether any file was written.
    pub(crate) changed: bool,
    /// The context that was current before, when another one was.
    pub(crate) replaced: Option<String>,
}

impl KubeconfigFiles {
    /// `$KUBECONFIG`, or `~/.kube/config`.
    pub fn from_env() -> Result<KubeconfigFiles> {
        let listed: Vec<PathBuf> = env::var_os("KUBECONFIG")
            .map(|list| env::split_paths(&list).filter(|p| !p.as_os_str().is_empty()).collect())
            .unwrap_or_default();
        if !listed.is_empty() {
            return Ok(KubeconfigFiles { paths: listed });
        }
        let base = directories::BaseDirs::new().ok_or(ProvisionError::NoHome)?;
        Ok(KubeconfigFiles { paths: vec![base.home_dir().join(".kube").join("config")] })
    }

    /// Exactly these files, first to last.
    pub fn at(paths: Vec<PathBuf>) -> KubeconfigFiles {
        KubeconfigFiles { paths }
    }

    /// The files, first to last.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// The current context, and where the context of that name leads to.
    pub fn look(&self, context: &str) -> Result<(Option<String>, Option<String>)> {
        let documents = self.read()?;
        let current = current_of(&documents).map(|(_, name)| name);
        let server = documents
            .iter()
            .find_map(|(_, document)| document.server_of(context).map(str::to_owned));
        Ok((current, server))
    }

    /// Whether the entry of that name has its certificates in files of their own.
    fn refers_to_files(&self, name: &str) -> Result<bool> {
        let documents = self.read()?;
        let mut clusters = documents.iter().flat_map(|(_, document)| &document.clusters);
        let entry = clusters.find(|cluster| cluster.name == name);
        Ok(entry.is_some_and(|entry| entry.cluster.certificate_authority.is_some()))
    }

    /// Puts the entry in; makes its context the current one if `switch`.
    pub(crate) fn put(&self, entry: &Entry, switch: bool) -> Result<Put> {
        let _lock = self.lock()?;
        let mut documents = self.read()?;
        let old = current_of(&documents);
        let defines = |document: &Kubeconfig| document.has_context(&entry.name);
        let home = documents
            .iter()
            .position(|(_, document)| defines(document))
            .unwrap_or_else(|| self.default_file());
        documents[home].1.put(entry);
        let mut replaced = None;
        if switch {
            let holder = old.as_ref().map_or(home, |(at, _)| *at);
            replaced = old.map(|(_, name)| name).filter(|name| *name != entry.name);
            documents[holder].1.current_context.clone_from(&entry.name);
        }
        Ok(Put { changed: self.write(&documents)?, replaced })
    }

    /// Takes the entry out of every file. Where its context was the current one, `previous` becomes
    /// that, if it is still there. Whether anything was changed.
    pub(crate) fn remove(&self, name: &str, previous: Option<&str>) -> Result<bool> {
        let _lock = self.lock()?;
        let mut documents = self.read()?;
        let current = current_of(&documents);
        for (_, document) in &mut documents {
            document.remove(name);
        }
        if let Some((holder, current)) = current
            && current == name
            && let Some(previous) = previous
            && documents.iter().any(|(_, document)| document.has_context(previous))
        {
            previous.clone_into(&mut documents[holder].1.current_context);
        }
        self.write(&documents)
    }

    /// Takes the name out of `current-context`, where it is; the entry stays. Whether it was.
    pub(crate) fn unset_current(&self, name: &str, previous: Option<&str>) -> Result<bool> {
        let _lock = self.lock()?;
        let mut documents = self.read()?;
        let Some((holder, current)) = current_of(&documents) else { return Ok(false) };
        if current != name {
            return Ok(false);
        }
        let known = |name: &&str| documents.iter().any(|(_, document)| document.has_context(name));
        let next = previous.filter(known).unwrap_or_default().to_owned();
        documents[holder].1.current_context = next;
        self.write(&documents)
    }

    /// Every document, as it is now; a file that is not there is an empty one.
    fn read(&self) -> Result<Vec<(PathBuf, Kubeconfig)>> {
        let read_one = |path: &PathBuf| {
            let text = match fs::read_to_string(path) {
                Ok(text) => text,
                Err(err) if err.kind() == io::ErrorKind::NotFound => String::new(),
                Err(err) => return Err(ProvisionError::state("read", path)(err)),
            };
            let document = Kubeconfig::parse(&text)
                .map_err(|source| ProvisionError::Kubeconfig { path: path.clone(), source })?;
            Ok((path.clone(), document))
        };
        self.paths.iter().map(read_one).collect()
    }

    /// Writes those that differ from what is on disk.
    fn write(&self, documents: &[(PathBuf, Kubeconfig)]) -> Result<bool> {
        let mut changed = false;
        for ((path, document), (_, before)) in documents.iter().zip(self.read()?) {
            if *document == before {
                continue;
            }
            let yaml = document
                .to_yaml()
                .map_err(|source| ProvisionError::Kubeconfig { path: path.clone(), source })?;
            // A link is the user's way to keep the file elsewhere: what it leads to is replaced.
            let target = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            changed |= write_private(&target, yaml.as_bytes())?;
        }
        Ok(changed)
    }

    fn default_file(&self) -> usize {
        let last = self.paths.len().saturating_sub(1);
        self.paths.iter().position(|path| path.exists()).unwrap_or(last)
    }

    /// One minik at a time: the lock is on the folder itself, so that no file is left beside the
    /// user's. It is held for two small files' time, so it is waited for without a deadline.
    fn lock(&self) -> Result<Option<File>> {
        let folder = self.paths[self.default_file()].parent().map(Path::to_owned);
        let Some(folder) = folder.filter(|folder| !folder.as_os_str().is_empty()) else {
            return Ok(None);
        };
        if !folder.exists() {
            make_private_folder(&folder)?;
        }
        if !cfg!(unix) {
            return Ok(None);
        }
        let failed = || ProvisionError::state("lock", &folder);
        let file = File::open(&folder).map_err(failed())?;
        file.lock().map_err(failed())?;
        Ok(Some(file))
    }
}

/// The first file that names a current context, and the name.
fn current_of(documents: &[(PathBuf, Kubeconfig)]) -> Option<(usize, String)> {
    documents
        .iter()
        .enumerate()
        .find(|(_, (_, document))| !document.current_context.is_empty())
        .map(|(at, (_, document))| (at, document.current_context.clone()))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use minik_pki::{Credentials, Pem};

    use super::*;

    const WORK: &str = "apiVersion: v1\nkind: Config\nclusters:\n- name: work\n  cluster: {server: 'https://w'}\n\
                        contexts:\n- name: work\n  context: {cluster: work, user: me}\ncurrent-context: work\n\
                        users:\n- name: me\n  user: {token: t}\n";

    fn entry(name: &str, server: &str) -> Entry {
        let pem = |text: &str| Pem::Text(text.to_owned());
        let credentials = Credentials { authority: pem("a"), certificate: pem("c"), key: pem("k") };
        let (name, server) = (name.to_owned(), server.to_owned());
        Entry { name, server, credentials, namespace: None }
    }

    /// Contexts in each file, and the current one with a star.
    fn summary(files: &KubeconfigFiles) -> String {
        let one = |(path, document): &(PathBuf, Kubeconfig)| {
            let names: Vec<_> = document.contexts.iter().map(|c| c.name.as_str()).collect();
            let file = path.file_name().unwrap().to_string_lossy();
            format!("{file}: {} current={}", names.join(","), document.current_context)
        };
        files.read().unwrap().iter().map(one).collect::<Vec<_>>().join("; ")
    }

    fn check(existing: &[&str], expected: Expect) {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|name| dir.path().join(name));
        for name in existing {
            fs::write(dir.path().join(name), WORK).unwrap();
        }
        let files = KubeconfigFiles::at(paths.to_vec());
        let before = summary(&files);
        let put = files.put(&entry("dev", "https://1"), true).unwrap();
        let after = summary(&files);
        assert!(!files.put(&entry("dev", "https://1"), true).unwrap().changed, "twice is once");
        assert!(files.remove("dev", put.replaced.as_deref()).unwrap());
        assert!(!files.remove("dev", None).unwrap(), "gone is gone");
        assert_eq!(summary(&files), before, "delete restores");
        expected.assert_eq(&after);
    }

    #[test]
    fn an_entry_goes_where_kubectl_would_put_it() {
        check(&[], expect!["a:  current=; b: dev current=dev"]);
        check(&["a"], expect!["a: work,dev current=dev; b:  current="]);
        check(&["b"], expect!["a:  current=; b: work,dev current=dev"]);
        check(&["a", "b"], expect!["a: work,dev current=dev; b: work current=work"]);
    }

    #[test]
    fn an_entry_is_changed_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|name| dir.path().join(name));
        KubeconfigFiles::at(paths[1..].to_vec()).put(&entry("dev", "https://1"), false).unwrap();
        fs::write(&paths[0], WORK).unwrap();
        let files = KubeconfigFiles::at(paths.to_vec());
        files.put(&entry("dev", "https://2"), false).unwrap();
        expect!["a: work current=work; b: dev current="].assert_eq(&summary(&files));
        assert_eq!(
            files.look("dev").unwrap(),
            (Some("work".to_owned()), Some("https://2".to_owned()))
        );
    }

    #[test]
    fn a_file_that_is_not_understood_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        fs::write(&path, "clusters: 7\n").unwrap();
        let files = KubeconfigFiles::at(vec![path.clone()]);
        let err = files.put(&entry("dev", "https://1"), true).unwrap_err();
        assert!(matches!(err, ProvisionError::Kubeconfig { .. }));
        assert_eq!(fs::read_to_string(&path).unwrap(), "clusters: 7\n");
    }

    #[test]
    #[cfg(unix)]
    fn a_link_stays_a_link_and_the_file_becomes_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("config"));
        fs::write(&real, WORK).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        KubeconfigFiles::at(vec![link.clone()]).put(&entry("dev", "https://1"), true).unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(real.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_stopped_cluster_is_not_the_current_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        fs::write(&path, WORK).unwrap();
        let files = KubeconfigFiles::at(vec![path]);
        files.put(&entry("dev", "https://1"), true).unwrap();
        assert!(files.unset_current("dev", Some("work")).unwrap());
        assert!(!files.unset_current("dev", Some("work")).unwrap());
        expect!["config: work,dev current=work"].assert_eq(&summary(&files));
    }
}
