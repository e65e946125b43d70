//! Container images: written next.
