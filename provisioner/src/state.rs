//! Where minik keeps what it must remember on the host, and who may change it when.
//!
//! `data/profiles/<profile>/` holds `profile.json`, `pki/`, `ssh/`, `docker/` and one folder per machine
//! below `machines/`; `data/locks/` one lock per profile, which outlives the profile so that two
//! processes never hold locks on different files of one name. Every file is replaced whole.

mod files;
mod folders;
mod lock;
mod profile;

pub use folders::Folders;
pub use lock::{Holder, ProfileLock};
pub use profile::{Profile, ProfileFolder};

pub(crate) use files::{
    make_private_folder, read_optional, remove_file, remove_tree, write_private,
};
