//! fewbit inside a program that owns its `wgpu::Device`: a matrix product recorded between the program's own
//! commands, over its own buffers. Run with `cargo run --release --example embed`.

#![allow(clippy::print_stdout, reason = "an example shows its result")]

use fewbit::gpu::{Gpu, Operand, PlanRequest, ReadBack};
use fewbit::kernels::Matmul;
use fewbit::op::Op as _;
use fewbit::wgpu;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // RUST_LOG=info shows what wgpu and fewbit have to say.
    env_logger::init();
    // The program's own device; any that wgpu opens will do, with default limits and no features.
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))?;
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor::default()))?;

    // One arena holds A [2, 4] and B [4, 4], another C [2, 4]: operands are pieces of buffers.
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
    let buffer = |size| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size,
            usage,
            mapped_at_creation: false,
        })
    };
    let (inputs, output) = (buffer(4096), buffer(4096));
    let a: Vec<f32> = (0..8).map(|i| i as f32).collect();
    let b: Vec<f32> = (0..16).map(|i| if i % 5 == 0 { 2.0 } else { 0.0 }).collect();
    queue.write_buffer(&inputs, 0, bytemuck::cast_slice(&a));
    queue.write_buffer(&inputs, 256, bytemuck::cast_slice(&b));

    // Borrow the device, make the operation ready, bind it: nothing is submitted, nothing blocks.
    let gpu = Gpu::from_wgpu(&device, &queue);
    let plan = Matmul::new(2, 4, 4).plan(&gpu, &PlanRequest::default())?;
    let product = plan.bind(&[
        Operand::new(&inputs, 0, 32),
        Operand::new(&inputs, 256, 64),
        Operand::new(&output, 1024, 32),
    ])?;

    // Record into the program's own pass, among its own work.
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        product.record(&mut pass);
    }
    let back = ReadBack::record(&gpu, &mut encoder, &output, 1024, 8)?;
    queue.submit([encoder.finish()]);

    let words = back.read_blocking()?;
    let c: Vec<f32> = words.words().iter().map(|&bits| f32::from_bits(bits)).collect();
    println!(
        "{} with variant {}: {c:?}",
        adapter.get_info().name,
        plan.variant()
    );
    assert!(c.iter().zip(&a).all(|(c, a)| *c == 2.0 * a));
    Ok(())
}
