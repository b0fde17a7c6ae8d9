//! A bf16 matrix product on the best device here. Run with `cargo run --release --example matmul`.

use fewbit::{Device, tensor::DType};

fn main() -> fewbit::Result<()> {
    // A real GPU if there is one, else the native CPU device.
    let device = Device::auto_blocking()?;
    let values: Vec<f32> = (0..512 * 512).map(|i| (i % 17) as f32 - 8.0).collect();
    let a = device.from_f32(&[512, 512], &values)?;
    // bf16 halves the bytes; whole numbers as small as these are exact in it.
    let (a, b) = (device.convert(&a, DType::Bf16)?, device.convert(&a, DType::Bf16)?);
    let c = device.matmul(&a, &b)?.read_blocking()?;

    // Sums are made in f32: whole numbers stay exact.
    let wanted: f32 = (0..512).map(|k| values[k] * values[512 * k]).sum();
    assert_eq!(c[0], wanted);
    log::info!("{}: c[0] = {wanted}", device.describe());
    Ok(())
}
