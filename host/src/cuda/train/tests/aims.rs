//! What a step may aim at beside the text, and few bits in the loop.

use super::*;

/// With teachers of two shapes and rounded weights: gradients, losses of the average and what rows carry are those of a CPU;
/// rounded weights have its bits.
#[test]
#[ignore = "needs an NVIDIA GPU"]
fn gpu_teachers_and_rounding_are_those_of_the_cpu() {
    let device = Device::open(0).unwrap();
    let shapes = shapes();
    for (index, dims) in shapes.iter().enumerate() {
        let others = [&shapes[(index + 1) % shapes.len()], dims];
        let teachers = others.map(|dims| {
            let mut weights = weights(dims);
            weights.embedding.iter_mut().for_each(|w| *w *= 1.25);
            weights
        });
        let teaching = Teaching { teachers: teachers.to_vec(), share: 0.7 };
        let (weights, len) = (weights(dims), 128);
        let batch = Batch::new(dims, len);
        for rounding in [Rounding::None, Rounding::Bits8, Rounding::Bits4] {
            for (products, bound) in [(Products::F32, 1e-4), (Products::Bf16, 6e-2)] {
                let shape = (batch.texts.len(), len);
                let gpu = parts(&weights, Matrices::Adamw);
                let mut gpu = GpuMachine::new(&device, gpu, products, shape, (rounding, &teaching)).unwrap();
                let mut cpu = Cpu::new(parts(&weights, Matrices::Adamw), rounding, teaching.clone()).unwrap();
                let carried = |len: usize| vec![Carry::zeros(len); shape.0];
                assert_eq!(cpu.carry_len(), gpu.carry_len());
                let mut carries = [carried(cpu.carry_len()), carried(gpu.carry_len())];
                // The second step begins with the states of the first.
                let mut losses = [0.0; 2];
                for _ in 0..2 {
                    losses[0] = batch.step(&mut cpu, &mut carries[0], STILL).loss.nats;
                    losses[1] = batch.step(&mut gpu, &mut carries[1], STILL).loss.nats;
                }
                // The CPU's is of the mean loss.
                let mut expected = cpu.last_gradient().unwrap();
                let symbols = (shape.0 * len) as f32;
                expected.tensors_mut().into_iter().for_each(|(.., g)| g.iter_mut().for_each(|g| *g *= symbols));
                let (far, tensor) = farthest(gpu.last_gradient().unwrap(), expected);
                println!("{dims:?}, {rounding:?}, {products:?}: {far:.1e} ({tensor})");
                assert!(far < bound, "{dims:?}, {rounding:?}, {products:?}: {tensor} is {far} apart");
                assert!((losses[0] / losses[1] - 1.0).abs() < bound);
                for (found, expected) in carries[1].iter().zip(&carries[0]) {
                    assert!(distance(found.as_slice(), expected.as_slice()) < bound);
                }
                if let Some(few) = &gpu.few {
                    let mut rounded = weights.clone();
                    rounding.apply(&mut rounded);
                    assert!(gpu.checkpoint(few).unwrap().layers[0].x_proj == rounded.layers[0].x_proj);
                    assert!(gpu.checkpoint(few).unwrap().embedding == rounded.embedding);
                }
                let mut states = [batch.before.clone(), batch.before.clone()];
                let [a, b] = &mut states;
                let [a, b] = [cpu.losses(&mut batch.rows(a)).unwrap(), gpu.losses(&mut batch.rows(b)).unwrap()];
                for (a, b) in a.iter().zip(&b) {
                    assert!((a.nats / b.nats - 1.0).abs() < bound, "{} and {}", a.nats, b.nats);
                }
            }
        }
    }
}
