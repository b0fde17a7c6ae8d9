//! burn's products on its wgpu device.

use burn_tensor::{Device, DeviceKind, Tensor, TensorData};

use crate::ours::Run;
use crate::peers::Ready;
use crate::problem::{Data, Problem, Shape};

struct Product {
    device: Device,
    a: Tensor<2>,
    /// Stored like fewbit's, transposed where it is used.
    b: Tensor<2>,
    c: Option<Tensor<2>>,
}

pub fn prepare(problem: &Problem, _: usize) -> Ready<'_> {
    let (Data::Dense { a, b }, Shape::Matmul { m, n, k }) = (&problem.data, problem.case.shape) else {
        return Ok(None);
    };
    let device = Device::wgpu(DeviceKind::DefaultDevice);
    let tensor = |values: &[f32], shape: [usize; 2]| {
        Tensor::<2>::from_data(TensorData::new(values.to_vec(), shape), &device)
    };
    Ok(Some(Box::new(Product {
        a: tensor(a, [m, k]),
        b: tensor(b, [n, k]),
        c: None,
        device,
    })))
}

impl Run for Product {
    fn run(&mut self, repeats: u32) -> Result<(), String> {
        for _ in 0..repeats {
            self.c = Some(self.a.clone().matmul(self.b.clone().transpose()));
        }
        self.device.sync().map_err(|error| format!("{error:?}"))
    }

    fn result(&mut self) -> Result<Vec<f32>, String> {
        let c = self.c.clone().ok_or("nothing ran")?;
        c.into_data()
            .try_to_vec::<f32>()
            .map_err(|error| format!("{error:?}"))
    }
}
