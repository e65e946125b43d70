//! What tests of this crate share: scripted drivers and images.
