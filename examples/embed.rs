//! fewbit inside a program that owns its `wgpu::Device`, through both doors over the program's own buffers: a product
//! recorded among the program's commands, then tensors over the same memory. Run with
//! `cargo run --release --example embed`.

#![allow(clippy::print_stdout, reason = "an example shows its result")]

use fewbit::gpu::{Gpu, Operand, PlanRequest, ReadBack};
use fewbit::kernels::{Matmul, MatmulOptions};
use fewbit::op::Op as _;
use fewbit::tensor::{DType, Layout};
use fewbit::{Device, Tensor, wgpu};

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

    // Borrow the device: nothing is created, nothing submitted.
    let gpu = Gpu::from_wgpu(&device, &queue);
    low_door(&gpu, &inputs, &output)?;
    let c = read(&gpu, &output, 1024)?;
    println!("{}: C = A B = {c:?}", adapter.get_info().name);
    assert!(c.iter().zip(&a).all(|(c, a)| *c == 2.0 * a));

    high_door(&gpu, &inputs, &output)?;
    let d = read(&gpu, &output, 2052)?;
    println!("the same buffers as tensors: D = C B = {d:?}");
    assert!(d.iter().zip(&a).all(|(d, a)| *d == 4.0 * a));
    Ok(())
}

/// C = A B, recorded into the program's own pass: nothing of ours submits, nothing blocks.
fn low_door(gpu: &Gpu, inputs: &wgpu::Buffer, output: &wgpu::Buffer) -> fewbit::Result<()> {
    let plan = Matmul::new(2, 4, 4).plan(gpu, &PlanRequest::default())?;
    let product = plan.bind(&[
        Operand::new(inputs, 0, 32),
        Operand::new(inputs, 256, 64),
        Operand::new(output, 1024, 32),
    ])?;
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        product.record(&mut pass);
    }
    gpu.queue().submit([encoder.finish()]);
    Ok(())
}

/// D = C B over tensors on the same memory, with fewbit's own tensors in between.
fn high_door(gpu: &Gpu, inputs: &wgpu::Buffer, output: &wgpu::Buffer) -> fewbit::Result<()> {
    let device = Device::from_gpu(gpu.clone());
    let over = |buffer, offset, shape: &[usize]| -> fewbit::Result<Tensor> {
        let layout = Layout::dense(DType::F32, shape);
        let piece = Operand::new(buffer, offset, layout.bytes());
        device.from_buffers(layout, &[piece])
    };
    let b = over(inputs, 256, &[4, 4])?;
    // Read and written in one operation, C and D would have to lie in two buffers: C goes to bf16 first, and to memory
    // of fewbit's own. Any multiple of 4 bytes will do for an offset.
    let c = device.convert(&over(output, 1024, &[2, 4])?, DType::Bf16)?;
    let mut d = over(output, 2052, &[2, 4])?;
    device.matmul_into(&c, &b, None, &mut d, &MatmulOptions::default())?;

    // The other way, a tensor is lent as a piece of a buffer, for the low door or commands of the program's own. It
    // submits what is pending, so that they find the contents; `Device::flush` does the same.
    let lent = d.as_buffer(0)?;
    assert_eq!((lent.buffer, lent.offset, lent.bytes), (output, 2052, 32));
    Ok(())
}

/// Eight floats of a buffer, by the program's own submit.
fn read(gpu: &Gpu, buffer: &wgpu::Buffer, offset: u64) -> fewbit::Result<Vec<f32>> {
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    let back = ReadBack::record(gpu, &mut encoder, buffer, offset, 8)?;
    gpu.queue().submit([encoder.finish()]);
    let words = back.read_blocking()?;
    Ok(words.words().iter().map(|&bits| f32::from_bits(bits)).collect())
}
