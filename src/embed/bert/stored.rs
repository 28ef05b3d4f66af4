//! Reading packed weights from a safetensors file, as scripts/train/quantize.py writes them: a matrix `NAME.weight` of
//! 8-bit integers, `[rows, columns]`, has a scale for each row in `NAME.weight.scale`, `[rows]`; all else is floats.

use std::ops::Range;

use candle_core::{
    DType, Device, Error, Result,
    safetensors::{Load, SliceSafetensors},
};
use safetensors::Dtype;

use super::{Scale, linear::Dense};

/// The tensors of a file.
pub(super) struct Stored<'a> {
    file: &'a [u8],
    tensors: SliceSafetensors<'a>,
}

/// Rows of 8-bit values, each with its scale, that stay in the file.
pub(super) struct Table {
    place: Range<usize>,
    columns: usize,
    scales: Vec<f32>,
}

impl<'a> Stored<'a> {
    pub(super) fn new(file: &'a [u8]) -> Result<Self> {
        Ok(Self { file, tensors: SliceSafetensors::new(file)? })
    }

    /// Whether the matrix of a layer is there, and packed.
    pub(super) fn is_packed(&self, name: &str) -> bool {
        self.tensors.get(&format!("{name}.weight")).is_ok_and(|view| view.dtype() == Dtype::I8)
    }

    /// A table that is looked up by row.
    pub(super) fn table(&self, name: &str, columns: usize) -> Result<Table> {
        let (place, scales) = self.matrix(name, columns)?;
        Ok(Table { place, columns, scales })
    }

    /// A layer of that many inputs and outputs.
    pub(super) fn dense(&self, name: &str, inputs: usize, outputs: usize) -> Result<Dense<'a>> {
        let (place, scales) = self.matrix(name, inputs)?;
        if scales.len() != outputs {
            return Err(Error::msg(format!("{name} has {} rows in place of {outputs}", scales.len())));
        }
        Ok(Dense {
            inputs,
            weights: &self.file[place],
            scales,
            bias: self.floats(&format!("{name}.bias"), outputs)?,
        })
    }

    /// The numbers of a normalisation.
    pub(super) fn scale(&self, name: &str, size: usize) -> Result<Scale> {
        Ok(Scale {
            weight: self.floats(&format!("{name}.weight"), size)?,
            bias: self.floats(&format!("{name}.bias"), size)?,
        })
    }

    /// Where 8-bit rows are in the file, and what a step in each of them is worth.
    fn matrix(&self, name: &str, columns: usize) -> Result<(Range<usize>, Vec<f32>)> {
        let name = format!("{name}.weight");
        let view = self.tensors.get(&name)?;
        match view.shape() {
            [rows, width] if *width == columns && view.dtype() == Dtype::I8 => {
                let start = view.data().as_ptr().addr() - self.file.as_ptr().addr();
                Ok((start..start + view.data().len(), self.floats(&format!("{name}.scale"), *rows)?))
            }
            shape => Err(Error::msg(format!("{name} is {:?} {shape:?}", view.dtype()))),
        }
    }

    fn floats(&self, name: &str, count: usize) -> Result<Vec<f32>> {
        let tensor = self.tensors.get(name)?.load(&Device::Cpu)?.to_dtype(DType::F32)?;
        let values = tensor.flatten_all()?.to_vec1()?;
        if values.len() != count {
            return Err(Error::msg(format!("{name} has {} values in place of {count}", values.len())));
        }
        Ok(values)
    }
}

impl Table {
    /// The values of a row.
    #[inline(always)]
    pub(super) fn row<'a>(&'a self, file: &'a [u8], at: usize) -> impl Iterator<Item = f32> + 'a {
        let scale = self.scales[at];
        let row = &file[self.place.clone()][at * self.columns..][..self.columns];
        row.iter().map(move |value| f32::from(value.cast_signed()) * scale)
    }
}
