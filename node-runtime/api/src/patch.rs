//! Patches: JSON patch (RFC 6902), merge patch (RFC 7386), strategic merge patch.
//!
//! Each changes a value in place. The result still has to go through [`crate::conform`],
//! [`crate::default()`] and validation. Server-side apply is [`crate::apply`].

pub mod json;
pub mod merge;
pub mod strategic;

use minik_meta::Status;
use minik_meta::status::{Cause, Details, Reason};

/// 422 as upstream words it for a patch that cannot be applied to the object.
fn cannot_apply(why: String) -> Status {
    let cause =
        Cause { reason: "UnexpectedServerResponse".to_owned(), message: why, field: String::new() };
    Status::new(Reason::Invalid, "the server rejected our request due to an error in our request")
        .with_details(Details { causes: vec![cause], ..Details::default() })
}
