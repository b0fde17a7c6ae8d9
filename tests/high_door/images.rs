//! Convolution as a product over patches.

use fewbit::kernels::Patches;
use fewbit::tensor::{DType, Layout};
use fewbit::{Device, Error, Result, Tensor};

/// Small whole numbers, so that every sum is exact in any order.
fn numbers(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|i| ((i + seed) * 37 % 11) as f32 - 5.0).collect()
}

fn of_type(device: &Device, tensor: &Tensor, dtype: DType) -> Tensor {
    match tensor.layout() {
        Layout::Dense { dtype: found, .. } if *found == dtype => tensor.clone(),
        _ => device.convert(tensor, dtype).expect("a conversion"),
    }
}

fn values(device: &Device, tensor: &Tensor) -> Vec<f32> {
    let tensor = of_type(device, tensor, DType::F32);
    tensor.read_blocking().expect("values")
}

/// What a window holds at a place, by its definition.
fn held(op: &Patches, x: &[f32], image: usize, at: [usize; 2], channel: usize) -> f32 {
    let pixel = [0, 1].map(|side| at[side].checked_sub(op.padding[side]));
    match pixel {
        [Some(i), Some(j)] if i < op.height && j < op.width => {
            x[((image * op.height + i) * op.width + j) * op.channels + channel]
        }
        _ => 0.0,
    }
}

pub(super) fn a_convolution_is_a_product_over_patches(devices: &[Device]) {
    for dtype in [DType::F32, DType::Bf16] {
        for (channels, stride, padding) in [(1, [1, 1], [0, 0]), (3, [2, 1], [1, 2]), (4, [1, 3], [0, 1])] {
            let op = Patches::new(2, [6, 7, channels], [3, 2], dtype)
                .strided(stride)
                .padded(padding);
            for device in devices {
                convolution(device, &op);
            }
        }
    }
}

fn convolution(device: &Device, op: &Patches) {
    const OUTPUTS: usize = 5;
    let (batch, pixels) = (op.batch, op.height * op.width);
    let ([down, across], [rows, cols]) = (op.places(), op.window);
    let x = numbers(batch * pixels * op.channels, 1);
    let weights = numbers(op.cols() * OUTPUTS, 7);
    let upload = |shape: &[usize], values: &[f32]| {
        let tensor = device.from_f32(shape, values).expect("a tensor");
        of_type(device, &tensor, op.dtype)
    };
    let mut want = Vec::new();
    for place in 0..batch * down * across {
        let (image, i, j) = (place / across / down, place / across % down, place % across);
        for output in 0..OUTPUTS {
            let term = |k: usize| {
                let (inside, channel) = (k / op.channels, k % op.channels);
                let at = [i * op.stride[0] + inside / cols, j * op.stride[1] + inside % cols];
                weights[k * OUTPUTS + output] * held(op, &x, image, at, channel)
            };
            want.push((0..rows * cols * op.channels).map(term).sum::<f32>());
        }
    }
    let weights = upload(&[op.cols(), OUTPUTS], &weights);
    let dy = upload(&[op.rows(), op.cols()], &numbers(op.rows() * op.cols(), 3));
    // A row for every pixel, and one for every image.
    for shape in [[batch * pixels, op.channels], [batch, pixels * op.channels]] {
        let patches = device.patches(&upload(&shape, &x), op).expect("patches");
        let product = device.matmul(&patches, &weights).expect("a product");
        assert_eq!(values(device, &product), want, "{op:?} on {device:?}");
        // The gradient is the transposed map: <patches(x), dy> = <x, patches_grad(dy)>.
        let dx = device.patches_grad(&dy, op).expect("a gradient");
        assert_eq!(dx.shape(), [batch * pixels, op.channels]);
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let left = dot(&values(device, &patches), &values(device, &dy));
        assert_eq!(left, dot(&x, &values(device, &dx)), "{op:?} on {device:?}");
    }
}

pub(super) fn patches_that_do_not_fit_are_typed_errors(devices: &[Device]) {
    for device in devices {
        let zeros = |shape: &[usize]| device.zeros(Layout::dense(DType::F32, shape)).expect("a tensor");
        let op = Patches::new(2, [4, 5, 3], [2, 2], DType::F32);
        let x = zeros(&[40, 3]);
        let refused = |found: Result<Tensor>, what: &str| {
            assert!(
                matches!(&found, Err(Error::Value { what: found, .. }) if *found == what),
                "{what}: {found:?}"
            );
        };
        let (mut large, mut flat) = (op, op);
        (large.window, flat.window) = ([5, 2], [2, 0]);
        refused(device.patches(&x, &large), "window rows");
        refused(device.patches_grad(&x, &flat), "window columns");
        refused(device.patches(&x, &op.strided([1, 0])), "stride");
        device
            .patches(&x, &large.padded([1, 0]))
            .expect("padded, it fits");
        let endless = device.patches(&x, &op.padded([1 << 31, 0]));
        assert!(matches!(endless, Err(Error::Limit { .. })), "{endless:?}");
        for shape in [[41, 3], [40, 4], [3, 60]] {
            let found = device.patches(&zeros(&shape), &op);
            assert!(
                matches!(found, Err(Error::Shape { operand: "x", .. })),
                "{found:?}"
            );
        }
        let found = device.patches_grad(&zeros(&[24, 13]), &op);
        assert!(
            matches!(found, Err(Error::Shape { operand: "dy", .. })),
            "{found:?}"
        );
        let bf16 = Patches::new(2, [4, 5, 3], [2, 2], DType::Bf16);
        let found = device.patches(&x, &bf16);
        assert!(
            matches!(found, Err(Error::DType { got: DType::F32, .. })),
            "{found:?}"
        );
    }
}
