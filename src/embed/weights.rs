//! A model's weights from a safetensors file: as they are, or packed by scripts/train/quantize.py, where
//! a matrix `NAME` of 8-bit integers, `[rows, columns]`, has a scale for each row in `NAME.scale`, `[rows]`.

use std::collections::HashMap;

use candle_core::{
    DType, Device, Error, Result, Tensor,
    safetensors::{Load, SliceSafetensors},
};
use candle_nn::VarBuilder;
use safetensors::{Dtype, tensor::TensorView};

/// What the scale of a packed matrix adds to its name.
const SCALE: &str = ".scale";

/// All weights of a file as 32-bit floats.
pub(super) fn read(file: &[u8]) -> Result<VarBuilder<'static>> {
    let stored = SliceSafetensors::new(file)?;
    let mut weights = HashMap::new();
    for (name, view) in stored.tensors() {
        if view.dtype() == Dtype::I8 {
            let scales = stored.get(&format!("{name}{SCALE}"))?.load(&Device::Cpu)?.to_vec1::<f32>()?;
            weights.insert(name, unpack(&view, &scales)?);
        } else if !name.ends_with(SCALE) {
            weights.insert(name, view.load(&Device::Cpu)?.to_dtype(DType::F32)?);
        }
    }
    Ok(VarBuilder::from_tensors(weights, DType::F32, &Device::Cpu))
}

/// Each row times its scale, `[rows, columns]`.
fn unpack(view: &TensorView<'_>, scales: &[f32]) -> Result<Tensor> {
    let &[rows, columns] = view.shape() else {
        return Err(Error::msg(format!("8-bit weights of {} dimensions", view.shape().len())));
    };
    if scales.len() != rows {
        return Err(Error::msg(format!("{} scales for {rows} rows", scales.len())));
    }
    let mut values = Vec::with_capacity(rows * columns);
    for (row, scale) in view.data().chunks_exact(columns.max(1)).zip(scales) {
        values.extend(row.iter().map(|value| f32::from(value.cast_signed()) * scale));
    }
    Tensor::from_vec(values, (rows, columns), &Device::Cpu)
}

#[cfg(test)]
mod tests {
    use safetensors::serialize;

    use super::*;

    fn file(tensors: &[(&str, Dtype, &[usize], &[u8])]) -> Vec<u8> {
        let views = tensors.iter().map(|(name, dtype, shape, data)| {
            (*name, TensorView::new(*dtype, shape.to_vec(), data).unwrap())
        });
        serialize(views, None).unwrap()
    }

    #[test]
    fn packed_rows_are_scaled_and_others_left_as_they_are() {
        let scales: Vec<u8> = [0.5_f32, 2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        let bias: Vec<u8> = [1.5_f32].iter().flat_map(|value| value.to_le_bytes()).collect();
        let integers: Vec<u8> = [-127_i8, 0, 4, 1, -1, 3].iter().map(|value| value.cast_unsigned()).collect();
        let read = read(&file(&[
            ("m", Dtype::I8, &[2, 3], &integers),
            ("m.scale", Dtype::F32, &[2], &scales),
            ("b", Dtype::F32, &[1], &bias),
        ]))
        .unwrap();
        let matrix = read.get((2, 3), "m").unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(matrix, [[-63.5, 0.0, 2.0], [2.0, -2.0, 6.0]]);
        assert_eq!(read.get(1, "b").unwrap().to_vec1::<f32>().unwrap(), [1.5]);
        assert!(!read.contains_tensor("m.scale"));
    }

    #[test]
    fn a_packed_matrix_without_its_scales_is_refused() {
        let one = 1_f32.to_le_bytes();
        assert!(read(&file(&[("m", Dtype::I8, &[1, 2], &[1, 2])])).is_err());
        let wrong = file(&[("m", Dtype::I8, &[2, 1], &[1, 2]), ("m.scale", Dtype::F32, &[1], &one)]);
        assert!(read(&wrong).err().unwrap().to_string().contains("1 scales for 2 rows"));
    }
}
