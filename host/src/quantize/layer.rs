//! One layer: the scales of its activations, then its tensors.

use mambabyte_core::blob::{LayerParams, Section};
use mambabyte_core::oracle::Site;

use super::rounding::{base_shift, code_at_least, multiplier};
use super::{HEADROOM, HEADROOM_POW2, QuantizeError, Quantizer, fit_i16, largest, log2_q8, to_i16};

/// `log2(log2(e))`: the decay is `2^-(delta * exp(A_log) * log2(e))`.
const LOG2_LOG2_E: f64 = 0.528_766_373_108_846_4;
/// Steps of `a_log` per octave.
const A_STEPS: f64 = 32.0;

/// Steps of `y` up to its largest calibrated magnitude: 2^26, so that `D * x` has room for its own bits.
const Y_STEPS: f64 = 67_108_864.0;
/// Range of an i32 activation over its largest calibrated magnitude.
const ROOM_I32: f64 = 4.0;

/// Static scales of a layer's activations, real value per integer step.
struct Scales {
    u: f64,
    conv_in: f64,
    dt: f64,
    b: f64,
    c: f64,
    y: f64,
    x_frac: u8,
    z_frac: u8,
}

impl Quantizer<'_> {
    fn scale(&mut self, layer: usize, site: Site, headroom: f64, limit: f64) -> f64 {
        let clip = f64::from(self.stats.range(layer, site).largest).max(1e-6) * headroom;
        self.clips.push((layer, site, clip));
        clip / limit
    }

    /// Most fractional bits that leave [`HEADROOM_POW2`].
    fn frac(&mut self, layer: usize, site: Site) -> Result<u8, QuantizeError> {
        let seen = f64::from(self.stats.range(layer, site).largest).max(1e-6);
        let frac = (32767.0 / (seen * HEADROOM_POW2)).log2().floor();
        if frac < 4.0 {
            return Err(QuantizeError::Range { layer, tensor: super::site_name(site), largest: seen });
        }
        let frac = frac.min(15.0) as u8;
        self.clips.push((layer, site, 32767.0 * (-f64::from(frac)).exp2()));
        Ok(frac)
    }

    /// Quantises all layers.
    pub(super) fn layers(&mut self) -> Result<(), QuantizeError> {
        (0..self.model.dims().n_layer).try_for_each(|layer| self.layer(layer))
    }

    /// Quantises layer `index` and appends it to the blob.
    fn layer(&mut self, index: usize) -> Result<(), QuantizeError> {
        let model = self.model;
        let (dims, weights) = (*model.dims(), &model.checkpoint().layers[index]);
        let stats = self.stats;
        let (d_model, d_inner) = (dims.d_model, dims.d_inner);
        let s = Scales {
            u: self.scale(index, Site::NormOut, HEADROOM, 32767.0),
            conv_in: self.scale(index, Site::ConvIn, HEADROOM, 32767.0),
            dt: self.scale(index, Site::Dt, HEADROOM, 32767.0),
            b: self.scale(index, Site::B, HEADROOM, 32767.0),
            c: self.scale(index, Site::C, HEADROOM_POW2, dims.c_limit() as f64),
            x_frac: self.frac(index, Site::ConvOut)?,
            z_frac: self.frac(index, Site::Gate)?,
            y: 0.0,
        };
        // The gated output is i32 with room for four times what was seen; the step shifts it to i16. y has at most
        // `Y_STEPS` steps up to what was seen.
        let g_scale = self.scale(index, Site::Gated, ROOM_I32, 2f64.powi(31));
        let per_shift = g_scale * f64::from(s.z_frac).exp2();
        let y_largest = f64::from(stats.range(index, Site::Y).largest).max(1e-9);
        let gate_shift = (per_shift * Y_STEPS / y_largest).log2().floor().clamp(1.0, 40.0);
        let s = Scales { y: per_shift * (-gate_shift).exp2(), ..s };
        self.parts.layers.push(LayerParams { x_frac: s.x_frac, z_frac: s.z_frac, ..LayerParams::ZERO });
        self.norm(index, &weights.norm, &weights.norm_bias, s.u)?;
        let mut p = self.parts.layers[index];
        let out_of_range = |tensor, data: &[f32]| QuantizeError::Range { layer: index, tensor, largest: largest(data) };
        let x_step = (-f64::from(s.x_frac)).exp2();
        let layer_stats = &stats.layers[index];

        // in_proj: x rows into the convolution's input scale, z rows into theirs.
        let mut unit = vec![s.u / s.conv_in; d_inner];
        unit.resize(2 * d_inner, s.u * f64::from(s.z_frac).exp2());
        let rounded = self.round(index, "in_proj", &weights.in_proj, d_model, &unit, Some(&layer_stats.norm_gram));
        let rounded = rounded.ok_or_else(|| out_of_range("in_proj", &weights.in_proj))?;
        p.in_proj_shift = rounded.shift;
        self.push(index, "in_proj", Section::InProjCode, Section::InProj, &rounded);

        // conv1d: stored tap-major.
        let unit = vec![s.conv_in / x_step; d_inner];
        let rounded = self.round(index, "conv1d", &weights.conv1d, dims.d_conv, &unit, None);
        let mut rounded = rounded.ok_or_else(|| out_of_range("conv1d", &weights.conv1d))?;
        p.conv_shift = rounded.shift;
        let channel_major = rounded.weights.clone();
        for (i, w) in rounded.weights.iter_mut().enumerate() {
            *w = channel_major[i % d_inner * dims.d_conv + i / d_inner];
        }
        self.push(index, "conv1d", Section::ConvCode, Section::Conv, &rounded);
        let bias: Vec<i16> = weights.conv_bias.iter().map(|&b| to_i16(f64::from(b) / x_step)).collect();
        self.parts.push_i16(Section::ConvBias, &bias);

        // x_proj: the rows of dt, B and C have one scale each.
        let mut unit = vec![x_step / s.dt; dims.dt_rank];
        unit.resize(dims.dt_rank + dims.d_state, x_step / s.b);
        unit.resize(dims.x_proj_rows(), x_step / s.c);
        let rounded = self.round(index, "x_proj", &weights.x_proj, d_inner, &unit, None);
        let rounded = rounded.ok_or_else(|| out_of_range("x_proj", &weights.x_proj))?;
        p.x_proj_shift = rounded.shift;
        self.push(index, "x_proj", Section::XProjCode, Section::XProj, &rounded);

        // dt_proj into Q10.
        let unit = vec![s.dt * 1024.0; d_inner];
        let rounded = self.round(index, "dt_proj", &weights.dt_proj, dims.dt_rank, &unit, None);
        let rounded = rounded.ok_or_else(|| out_of_range("dt_proj", &weights.dt_proj))?;
        p.dt_proj_shift = rounded.shift;
        self.push(index, "dt_proj", Section::DtProjCode, Section::DtProj, &rounded);
        let bias: Vec<i16> = weights.dt_bias.iter().map(|&b| to_i16(f64::from(b) * 1024.0)).collect();
        self.parts.push_i16(Section::DtBias, &bias);

        self.decays(index, &mut p);
        self.state_scales(index, &s, &mut p)?;

        // D * x in units of y.
        let skip = weights.d_skip.iter().map(|&d| f64::from(d) * x_step / s.y);
        let (values, shift) = fit_i16(skip).ok_or_else(|| out_of_range("D", &weights.d_skip))?;
        p.d_shift = shift;
        self.parts.push_i16(Section::DSkip, &values);

        p.gate_shift = gate_shift as u8;
        let unit = vec![g_scale * f64::from(self.parts.residual_frac).exp2(); d_model];
        let rounded = self.round(index, "out_proj", &weights.out_proj, d_inner, &unit, Some(&layer_stats.gated_gram));
        let rounded = rounded.filter(|r| r.shift >= 18).ok_or_else(|| out_of_range("out_proj", &weights.out_proj))?;
        p.out_proj_shift = rounded.shift;
        self.push(index, "out_proj", Section::OutProjCode, Section::OutProj, &rounded);

        p.scale_log2 = [s.u, s.dt, s.b, s.c, s.y, g_scale].map(log2_q8);
        self.parts.layers[index] = p;
        Ok(())
    }

    /// `a_log` in 1/32 octaves above the slowest decay of the layer.
    fn decays(&mut self, index: usize, p: &mut LayerParams) {
        let dims = *self.model.dims();
        let a_log = &self.model.checkpoint().layers[index].a_log;
        let octaves = |d: usize, n: usize| f64::from(a_log[d * dims.d_state + n]) * std::f64::consts::LOG2_E;
        let rows = dims.a_log_rows();
        let all = || (0..rows).flat_map(|n| (0..dims.d_inner).map(move |d| octaves(d, n)));
        let low = all().fold(f64::INFINITY, f64::min).clamp(-30.0, 30.0);
        let p_base = (low + LOG2_LOG2_E) * 1024.0;
        p.a_base = to_i16(p_base);
        let base = f64::from(p.a_base) / 1024.0 - LOG2_LOG2_E;
        let codes: Vec<f64> = all().map(|a| ((a - base) * A_STEPS).round()).collect();
        let beyond = codes.iter().filter(|&&c| c > 255.0).count();
        if beyond > 0 {
            self.notes.push(format!(
                "layer {index}: {beyond} of {} decays are more than eight octaves faster than the slowest and were clipped",
                codes.len()
            ));
        }
        let codes: Vec<u8> = codes.iter().map(|c| c.clamp(0.0, 255.0) as u8).collect();
        let value = |d: usize, n: usize| (f64::from(codes[n * dims.d_inner + d]) / A_STEPS + base) as f32;
        let tied = |d: usize, n: usize| value(d, 0) + ((n + 1) as f32).log2();
        let real = |i: usize| {
            let (d, n) = (i / dims.d_state, i % dims.d_state);
            if dims.tied_decays { tied(d, n) } else { value(d, n) }
        };
        self.a_log.push((0..a_log.len()).map(|i| real(i) * std::f32::consts::LN_2).collect());
        self.parts.push_u8(Section::ALog, &codes);
    }

    /// A scale for the state of each channel, from the largest `h` and the largest `delta * x` that it must hold.
    fn state_scales(&mut self, index: usize, s: &Scales, p: &mut LayerParams) -> Result<(), QuantizeError> {
        let stats = &self.stats.layers[index];
        // h = scale * integer; y = C h in units of s.y: multiplier = s.c * scale / s.y.
        let per_scale = s.c / s.y;
        let needed: Vec<f64> = stats
            .h_largest
            .iter()
            .zip(&stats.dx_largest)
            .map(|(&h, &dx)| {
                let for_h = f64::from(h) * HEADROOM / 32767.0;
                let for_dx = f64::from(dx) * HEADROOM_POW2 * s.b * 32768.0 / 32767.0;
                for_h.max(for_dx).max(1e-12) * per_scale
            })
            .collect();
        let top = needed.iter().copied().fold(0.0, f64::max);
        let shift =
            base_shift(top).ok_or(QuantizeError::Range { layer: index, tensor: "h", largest: top / per_scale })?;
        let codes: Vec<u8> = needed.iter().map(|&m| code_at_least(m, shift)).collect();
        self.parts.push_u8(Section::StateCode, &codes);
        p.y_shift = shift;
        // dx = delta * x * s.b * 2^15 / scale,
        // scale = multiplier(code) / per_scale = 2^(15 - shift - (code + 1) / 32) / per_scale.
        debug_assert!((multiplier(0, shift).log2() - (15.0 - f64::from(shift) - 1.0 / 32.0)).abs() < 1e-3);
        let base = s.b.log2() + per_scale.log2() + f64::from(shift) + 1.0 / 32.0 - f64::from(s.x_frac);
        p.dx_base = (base * 1024.0).round() as i32;
        Ok(())
    }
}
