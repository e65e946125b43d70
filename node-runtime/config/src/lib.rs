//! The node file: what one node needs to know, written by the provisioner and read by `minik-node`.
//!
//! The file is `/etc/minik/node.yaml` in the guest (YAML, or JSON, which is YAML too). It says who the
//! node is and where things are, and how the user wants the API server to be: the text of files for that
//! may hold keys, so the node file is for root alone.

mod audit;
mod authentication;
mod document;
mod encryption;
mod error;
mod file;
mod flags;
mod sections;
mod validate;

pub use audit::{
    AuditFormat, AuditLevel, AuditPolicy, AuditResources, AuditRule, AuditSettings, AuditStage,
    AuditTarget,
};
pub use authentication::{
    Anonymous, Authentication, ClaimMappings, ClaimRule, ExtraMapping, Issuer, JwtAuthenticator,
    Mapping, OidcFlags, UserRule,
};
pub use encryption::{
    EncryptedResources, EncryptionConfiguration, EncryptionKey, EncryptionProvider,
};
pub use error::ConfigError;
pub use file::NODE_FILE;
pub use flags::{API_SERVER_FLAGS, ApiServerFlags, Flag, FlagError, Takes};
pub use sections::{
    ApiServerSection, ClusterSection, Effect, NodeConfig, NodeSection, PathsSection, Role,
    RuntimeSection, Taint, VERSION,
};
