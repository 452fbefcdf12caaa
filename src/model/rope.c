#include "model/rope.h"

#include <math.h>
#include <string.h>

#include "base/status.h"
#include "model/config_fields.h"

static const double TWO_PI = 6.283185307179586476925286766559;

vlorpi_rope_config vlorpi_rope_plain(double theta)
{
    return (vlorpi_rope_config){.theta = theta, .kind = VLORPI_ROPE_PLAIN, .factor = 1};
}

static double plain_frequency(const vlorpi_rope_config *rope, int64_t E, int64_t i)
{
    return pow(rope->theta, -2.0 * (double)i / (double)E);
}

double vlorpi_rope_divisor(const vlorpi_rope_config *rope, int64_t E, int64_t i)
{
    if (rope->kind != VLORPI_ROPE_LLAMA3) {
        return rope->factor;
    }
    double turns = plain_frequency(rope, E, i) / TWO_PI * (double)rope->original;
    if (turns >= rope->high || turns <= rope->low) {
        return turns >= rope->high ? 1 : rope->factor;
    }
    double smooth = (turns - rope->low) / (rope->high - rope->low);
    return 1 / (smooth + (1 - smooth) / rope->factor);
}

double vlorpi_rope_frequency(const vlorpi_rope_config *rope, int64_t E, int64_t i)
{
    return plain_frequency(rope, E, i) / vlorpi_rope_divisor(rope, E, i);
}

/* ---- config.json ---- */

static vlorp_status read_llama3(vlorpi_rope_config *rope, const json_t *scaling, const json_t *root,
                                int64_t max_positions, vlorp_err *err)
{
    VLORP_TRY(vlorpi_config_required(scaling, "low_freq_factor", err));
    VLORP_TRY(vlorpi_config_required(scaling, "high_freq_factor", err));
    VLORP_TRY(vlorpi_config_double(scaling, "low_freq_factor", &rope->low, err));
    VLORP_TRY(vlorpi_config_double(scaling, "high_freq_factor", &rope->high, err));
    rope->original = max_positions;
    VLORP_TRY(vlorpi_config_int(root, "original_max_position_embeddings", &rope->original, err));
    VLORP_TRY(vlorpi_config_int(scaling, "original_max_position_embeddings", &rope->original, err));
    if (!(rope->low > 0) || !(rope->high > rope->low) || !isfinite(rope->high)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "low_freq_factor %g and high_freq_factor %g are not 0 < low < high", rope->low,
                   rope->high);
    }
    if (rope->original < 1) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "original_max_position_embeddings is %lld, below 1",
                   (long long)rope->original);
    }
    return VLORP_OK;
}

static vlorp_status read_scaling(vlorpi_rope_config *rope, const char *place, const json_t *root,
                                 int64_t max_positions, vlorp_err *err)
{
    const json_t *scaling = vlorpi_config_field(root, place);
    const json_t *type = vlorpi_config_field(scaling, "rope_type");
    type = type != NULL ? type : vlorpi_config_field(scaling, "type");
    const char *name = type != NULL ? json_string_value(type) : "default";
    if (name == NULL) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "the type of %s is not a string", place);
    }
    if (strcmp(name, "default") == 0) {
        return VLORP_OK;
    }
    bool llama3 = strcmp(name, "llama3") == 0;
    if (!llama3 && strcmp(name, "linear") != 0) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "%s has the type %.32s; supported are default, linear, llama3", place,
                   name);
    }
    rope->kind = llama3 ? VLORPI_ROPE_LLAMA3 : VLORPI_ROPE_LINEAR;
    VLORP_TRY(vlorpi_config_required(scaling, "factor", err));
    VLORP_TRY(vlorpi_config_double(scaling, "factor", &rope->factor, err));
    if (!(rope->factor >= 1) || !isfinite(rope->factor)) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "factor %g of %s is below 1", rope->factor, place);
    }
    return llama3 ? read_llama3(rope, scaling, root, max_positions, err) : VLORP_OK;
}

vlorp_status vlorpi_rope_from_json(vlorpi_rope_config *rope, const json_t *root, int64_t max_positions, vlorp_err *err)
{
    *rope = vlorpi_rope_plain(10000);
    double rotated = 1;
    VLORP_TRY(vlorpi_config_double(root, "rope_theta", &rope->theta, err));
    VLORP_TRY(vlorpi_config_double(root, "partial_rotary_factor", &rotated, err));
    /* where a file has both, transformers reads rope_scaling */
    const char *place = vlorpi_config_field(root, "rope_scaling") != NULL ? "rope_scaling" : "rope_parameters";
    const json_t *scaling = vlorpi_config_field(root, place);
    if (scaling != NULL) {
        if (!json_is_object(scaling)) {
            VLORP_FAIL(err, VLORP_E_FORMAT, "field %s is not an object", place);
        }
        VLORP_TRY(vlorpi_config_double(scaling, "rope_theta", &rope->theta, err));
        VLORP_TRY(vlorpi_config_double(scaling, "partial_rotary_factor", &rotated, err));
        VLORP_TRY(read_scaling(rope, place, root, max_positions, err));
    }
    if (!(rotated == 1.0)) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "partial_rotary_factor %g is not supported, only 1", rotated);
    }
    return VLORP_OK;
}

int vlorpi_rope_to_json(const vlorpi_rope_config *rope, json_t *root)
{
    if (json_object_set_new(root, "rope_theta", json_real(rope->theta)) != 0) {
        return -1;
    }
    json_t *scaling = NULL;
    switch (rope->kind) {
    case VLORPI_ROPE_PLAIN: return 0;
    case VLORPI_ROPE_LINEAR: scaling = json_pack("{s:s, s:f}", "rope_type", "linear", "factor", rope->factor); break;
    case VLORPI_ROPE_LLAMA3:
        scaling = json_pack("{s:s, s:f, s:f, s:f, s:I}", "rope_type", "llama3", "factor", rope->factor,
                            "low_freq_factor", rope->low, "high_freq_factor", rope->high,
                            "original_max_position_embeddings", (json_int_t)rope->original);
        break;
    }
    return scaling != NULL ? json_object_set_new(root, "rope_scaling", scaling) : -1;
}

/* ---- divisors ---- */

/* Whether rope gives the divisors, within what fp32 numbers can say. */
static bool gives(const vlorpi_rope_config *rope, int64_t E, const float *divisors)
{
    for (int64_t i = 0; i < E / 2; i++) {
        double expected = vlorpi_rope_divisor(rope, E, i);
        if (!(fabs((double)divisors[i] - expected) <= 1e-4 * expected)) {
            return false;
        }
    }
    return true;
}

/* smooth = a x - b, x the turns per token, of two pairs in between gives a = original / (high - low) and
 * b = low / (high - low); where only one is in between, high is 4 low, as in every published model. */
static bool solve(vlorpi_rope_config *rope, int64_t E, const float *divisors)
{
    double at[2] = {0, 0};     /* turns per token of the first and the last pair in between */
    double smooth[2] = {0, 0};
    int n = 0;
    for (int64_t i = 0; i < E / 2; i++) {
        double d = (double)divisors[i];
        if (d > 1 + 1e-4 && d < rope->factor * (1 - 1e-4)) {
            int k = n == 0 ? 0 : 1;
            at[k] = plain_frequency(rope, E, i) / TWO_PI;
            smooth[k] = (1 / d - 1 / rope->factor) / (1 - 1 / rope->factor);
            n++;
        }
    }
    if (n == 0) {
        return false;
    }
    double a = n == 1 ? (smooth[0] + 1.0 / 3) / at[0] : (smooth[1] - smooth[0]) / (at[1] - at[0]);
    double b = a * at[0] - smooth[0];
    double original = a / b;
    if (!(b > 0) || !(original >= 1) || !(original < 1e9)) {
        return false;
    }
    rope->low = 1;
    rope->high = round((1 + 1 / b) * 1e4) / 1e4;
    rope->original = (int64_t)llround(original);
    return gives(rope, E, divisors);
}

bool vlorpi_rope_from_divisors(vlorpi_rope_config *rope, int64_t E, const float *divisors)
{
    *rope = vlorpi_rope_plain(rope->theta);
    if (gives(rope, E, divisors)) {
        return true;
    }
    rope->kind = VLORPI_ROPE_LLAMA3;
    for (int64_t i = 0; i < E / 2; i++) {
        if (!(divisors[i] >= 1) || !isfinite(divisors[i])) {
            return false;
        }
        rope->factor = fmax(rope->factor, (double)divisors[i]);
    }
    return solve(rope, E, divisors);
}
