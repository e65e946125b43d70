//! A backend that keeps nothing: for tests and clusters that may be forgotten.

use super::{Backend, Batch, Loaded, Marks};
use crate::error::BackendError;

#[derive(Debug, Default)]
pub(crate) struct Memory {
    marks: Marks,
}

impl Backend for Memory {
    fn load(&mut self, _each: &mut dyn FnMut(Loaded<'_>)) -> Result<Marks, BackendError> {
        Ok(self.marks)
    }

    fn commit(&mut self, batch: &Batch<'_>) -> Result<(), BackendError> {
        self.marks = batch.marks;
        Ok(())
    }

    fn reopen(&mut self) -> Result<Marks, BackendError> {
        Ok(self.marks)
    }
}
