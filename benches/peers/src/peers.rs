//! The other libraries.

use faer::{Accum, MatMut, MatRef, Par};
use gemm::Parallelism;

use crate::ours::Run;
use crate::problem::{Data, Problem, Shape};

/// A library, or a way to call one.
pub struct Peer {
    pub name: &'static str,
    /// The crate whose version is named.
    pub package: &'static str,
    /// Whether it runs on the GPU that fewbit runs on, or on the CPU.
    pub gpu: bool,
    pub threads: Threads,
    /// Ready to run with so many threads; nothing where it has no such operation.
    pub prepare: for<'a> fn(&'a Problem, usize) -> Ready<'a>,
}

/// A call that is ready, if there is one.
pub type Ready<'a> = Result<Option<Box<dyn Run + 'a>>, String>;

/// How a peer is told its number of threads.
#[derive(Clone, Copy, PartialEq)]
pub enum Threads {
    /// It takes a number.
    Any,
    /// It has one.
    One,
    /// It reads `MATMUL_NUM_THREADS` once per process, and takes at most this many.
    Environment(usize),
}

pub const PEERS: &[Peer] = &[
    Peer {
        name: "faer",
        package: "faer",
        gpu: false,
        threads: Threads::Any,
        prepare: faer,
    },
    Peer {
        name: "gemm",
        package: "gemm",
        gpu: false,
        threads: Threads::Any,
        prepare: gemm,
    },
    Peer {
        name: "matrixmultiply",
        package: "matrixmultiply",
        gpu: false,
        threads: Threads::Environment(4),
        prepare: matrixmultiply,
    },
    Peer {
        name: "sprs",
        package: "sprs",
        gpu: false,
        threads: Threads::One,
        prepare: sprs,
    },
    #[cfg(feature = "burn")]
    Peer {
        name: "burn-wgpu",
        package: "burn-tensor",
        gpu: true,
        threads: Threads::One,
        prepare: crate::burn::prepare,
    },
];

/// The version that was built, as the lock file has it.
pub fn version(package: &str) -> &'static str {
    let lock = include_str!("../Cargo.lock");
    lock.split("[[package]]")
        .find(|entry| entry.contains(&format!("name = \"{package}\"\n")))
        .and_then(|entry| entry.split("version = \"").nth(1))
        .and_then(|rest| rest.split('"').next())
        .unwrap_or("unknown")
}

/// A call with its result, in a pool of its own where it needs one.
struct Call<F> {
    result: Vec<f32>,
    pool: Option<rayon::ThreadPool>,
    call: F,
}

impl<F: FnMut(&mut [f32]) + Send> Run for Call<F> {
    fn run(&mut self, repeats: u32) -> Result<(), String> {
        let Self { result, pool, call } = self;
        let mut all = || (0..repeats).for_each(|_| call(result));
        match pool {
            Some(pool) => pool.install(all),
            None => all(),
        }
        Ok(())
    }

    fn result(&mut self) -> Result<Vec<f32>, String> {
        Ok(self.result.clone())
    }
}

fn call<'a, F>(len: usize, threads: usize, call: F) -> Ready<'a>
where
    F: FnMut(&mut [f32]) + Send + 'a,
{
    let pool = match threads {
        0 | 1 => None,
        _ => Some(
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .map_err(|error| error.to_string())?,
        ),
    };
    Ok(Some(Box::new(Call {
        result: vec![0.0; len],
        pool,
        call,
    })))
}

fn par(threads: usize) -> Par {
    if threads > 1 {
        Par::rayon(threads)
    } else {
        Par::Seq
    }
}

fn faer(problem: &Problem, threads: usize) -> Ready<'_> {
    match (&problem.data, problem.case.shape) {
        (Data::Dense { a, b }, Shape::Matmul { m, n, k }) => call(m * n, threads, move |c| {
            faer::linalg::matmul::matmul(
                MatMut::from_row_major_slice_mut(c, m, n),
                Accum::Replace,
                MatRef::from_row_major_slice(a, m, k),
                MatRef::from_row_major_slice(b, n, k).transpose(),
                1.0f32,
                par(threads),
            );
        }),
        (
            Data::Sparse {
                row_ptr,
                col_idx,
                values,
                x,
            },
            Shape::Sparse { rows, cols, n, .. },
        ) => {
            let symbolic =
                faer::sparse::SymbolicSparseRowMatRef::new_checked(rows, cols, row_ptr, None, col_idx);
            let matrix = faer::sparse::SparseRowMatRef::new(symbolic, values);
            call(rows * n, threads, move |y| {
                faer::sparse::linalg::matmul::sparse_dense_matmul(
                    MatMut::from_row_major_slice_mut(y, rows, n),
                    Accum::Replace,
                    matrix,
                    MatRef::from_row_major_slice(x, cols, n),
                    1.0f32,
                    par(threads),
                );
            })
        }
        _ => Ok(None),
    }
}

fn gemm(problem: &Problem, threads: usize) -> Ready<'_> {
    let (Data::Dense { a, b }, Shape::Matmul { m, n, k }) = (&problem.data, problem.case.shape) else {
        return Ok(None);
    };
    let parallelism = match threads {
        0 | 1 => Parallelism::None,
        _ => Parallelism::Rayon(threads),
    };
    call(m * n, threads, move |c| {
        // SAFETY: a holds m rows of k, b holds n rows of k, and c, which nothing else refers to, m rows of n.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                c.as_mut_ptr(),
                1,
                n as isize,
                false,
                a.as_ptr(),
                1,
                k as isize,
                b.as_ptr(),
                k as isize,
                1,
                0.0f32,
                1.0f32,
                false,
                false,
                false,
                parallelism,
            );
        }
    })
}

fn matrixmultiply(problem: &Problem, _: usize) -> Ready<'_> {
    let (Data::Dense { a, b }, Shape::Matmul { m, n, k }) = (&problem.data, problem.case.shape) else {
        return Ok(None);
    };
    call(m * n, 1, move |c| {
        // SAFETY: a holds m rows of k, b holds n rows of k, and c, which nothing else refers to, m rows of n.
        unsafe {
            matrixmultiply::sgemm(
                m,
                k,
                n,
                1.0,
                a.as_ptr(),
                k as isize,
                1,
                b.as_ptr(),
                1,
                k as isize,
                0.0,
                c.as_mut_ptr(),
                n as isize,
                1,
            );
        }
    })
}

fn sprs(problem: &Problem, _: usize) -> Ready<'_> {
    let (
        Data::Sparse {
            row_ptr,
            col_idx,
            values,
            x,
        },
        Shape::Sparse { rows, cols, n, .. },
    ) = (&problem.data, problem.case.shape)
    else {
        return Ok(None);
    };
    let matrix =
        sprs::CsMatI::<f32, u32>::new((rows, cols), row_ptr.clone(), col_idx.clone(), values.clone());
    if n > 1 {
        // Its dense operands are ndarray's: another library's matrices.
        return Ok(None);
    }
    call(rows, 1, move |y| {
        y.fill(0.0);
        sprs::prod::mul_acc_mat_vec_csr(matrix.view(), x.as_slice(), y);
    })
}
