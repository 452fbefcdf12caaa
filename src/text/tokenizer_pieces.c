/* tokenizer_pieces.c - tokenizer.model: SentencePiece's protocol buffer, BPE models only. */
#include <string.h>

#include "text/tokenizer_readers.h"

/* --- protocol buffers, as much as is needed --- */

typedef struct cursor {
    const unsigned char *at, *end;
} cursor;

typedef struct field {
    uint64_t number;
    int wire;         /* 0 varint, 1 eight bytes, 2 length-delimited, 5 four bytes */
    uint64_t value;   /* varint */
    cursor bytes;     /* of the other kinds */
} field;

static bool read_varint(cursor *c, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; shift < 64 && c->at < c->end; shift += 7) {
        unsigned char byte = *c->at++;
        *out |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            return true;
        }
    }
    return false;
}

/* Reads the next field; *more false at the end.  false: damaged. */
static bool read_field(cursor *c, field *f, bool *more)
{
    uint64_t key;
    *more = c->at < c->end;
    if (!*more) {
        return true;
    }
    if (!read_varint(c, &key)) {
        return false;
    }
    *f = (field){.number = key >> 3, .wire = (int)(key & 7)};
    uint64_t n_bytes;
    switch (f->wire) {
    case 0: return read_varint(c, &f->value);
    case 1: n_bytes = 8; break;
    case 5: n_bytes = 4; break;
    case 2:
        if (!read_varint(c, &n_bytes)) {
            return false;
        }
        break;
    default: return false;
    }
    if (n_bytes > (uint64_t)(c->end - c->at)) {
        return false;
    }
    f->bytes = (cursor){.at = c->at, .end = c->at + n_bytes};
    c->at += n_bytes;
    return true;
}

/* --- what the file says --- */

enum { MODEL_PIECES = 1, MODEL_TRAINER = 2, MODEL_NORMALIZER = 3 };

typedef struct piece {
    const char *text;
    size_t n_bytes;
    float score;
    uint64_t kind;
} piece;

static bool read_piece(cursor c, piece *p)
{
    *p = (piece){.text = "", .kind = VLORPI_TOKEN_NORMAL};
    field f;
    bool more;
    while (read_field(&c, &f, &more)) {
        if (!more) {
            return p->kind >= VLORPI_TOKEN_NORMAL && p->kind <= VLORPI_TOKEN_BYTE;
        }
        if (f.number == 1 && f.wire == 2) {
            p->text = (const char *)f.bytes.at;
            p->n_bytes = (size_t)(f.bytes.end - f.bytes.at);
        } else if (f.number == 2 && f.wire == 5) {
            const unsigned char *b = f.bytes.at;
            uint32_t bits = (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
            memcpy(&p->score, &bits, sizeof bits);
        } else if (f.number == 3 && f.wire == 0) {
            p->kind = f.value;
        }
    }
    return false;
}

typedef struct settings {
    int64_t unknown, bos, eos, pad; /* -1: none */
    uint64_t model_type;            /* 1 unigram, 2 BPE */
    bool space_prefix, suffix_space, remove_spaces, escape_spaces, has_charsmap;
    int64_t n_pieces;
    size_t pool_bytes;
} settings;

static bool read_trainer(cursor c, settings *s)
{
    field f;
    bool more;
    while (read_field(&c, &f, &more)) {
        if (!more) {
            return true;
        }
        if (f.wire != 0) {
            continue;
        }
        int64_t id = f.value <= INT32_MAX ? (int64_t)f.value : -1;
        switch (f.number) {
        case 3: s->model_type = f.value; break;
        case 24: s->suffix_space = f.value != 0; break;
        case 40: s->unknown = id; break;
        case 41: s->bos = id; break;
        case 42: s->eos = id; break;
        case 43: s->pad = id; break;
        default: break;
        }
    }
    return false;
}

static bool read_normalizer(cursor c, settings *s)
{
    field f;
    bool more;
    while (read_field(&c, &f, &more)) {
        if (!more) {
            return true;
        }
        if (f.number == 2 && f.wire == 2) {
            s->has_charsmap = f.bytes.at != f.bytes.end;
        } else if (f.wire == 0) {
            s->space_prefix = f.number == 3 ? f.value != 0 : s->space_prefix;
            s->remove_spaces = f.number == 4 ? f.value != 0 : s->remove_spaces;
            s->escape_spaces = f.number == 5 ? f.value != 0 : s->escape_spaces;
        }
    }
    return false;
}

/* The whole file once: settings, and how much the pieces need. */
static vlorp_status measure(cursor c, settings *s, vlorp_err *err)
{
    const unsigned char *start = c.at;
    field f;
    bool more = true;
    bool ok = true;
    while (ok && (ok = read_field(&c, &f, &more)) && more) {
        if (f.wire != 2) {
            continue;
        }
        if (f.number == MODEL_PIECES) {
            piece p;
            ok = read_piece(f.bytes, &p);
            s->n_pieces++;
            s->pool_bytes += ok ? p.n_bytes : 0;
        } else if (f.number == MODEL_TRAINER) {
            ok = read_trainer(f.bytes, s);
        } else if (f.number == MODEL_NORMALIZER) {
            ok = read_normalizer(f.bytes, s);
        }
    }
    if (!ok) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "not a SentencePiece model: damaged before byte %zu", (size_t)(c.at - start));
    }
    return VLORP_OK;
}

static vlorp_status check(const settings *s, vlorp_err *err)
{
    if (s->n_pieces == 0) {
        VLORP_FAIL(err, VLORP_E_FORMAT, "not a SentencePiece model: there are no pieces");
    }
    if (s->model_type != 2) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "SentencePiece model type %s is not supported; BPE is",
                   s->model_type == 1 ? "unigram" : (s->model_type == 3 ? "word" : "char"));
    }
    if (s->has_charsmap || s->suffix_space || !s->escape_spaces) {
        VLORP_FAIL(err, VLORP_E_UNSUPPORTED, "SentencePiece: %s is not supported",
                   s->has_charsmap ? "a normalisation rule (precompiled_charsmap)"
                                   : (s->suffix_space ? "treat_whitespace_as_suffix" : "escape_whitespaces false"));
    }
    return VLORP_OK;
}

/* Spaces at the ends go, runs of them become one. */
static vlorp_status remove_spaces(vlorpi_tokenizer *t, vlorp_err *err)
{
    static const char *const rules[][2] = {{"\\A +| +\\z", ""}, {"  +", " "}};
    for (size_t i = 0; i < 2; i++) {
        vlorpi_normal_step *step = NULL;
        VLORP_TRY(vlorpi_tokenizer_add_normal(t, &step, err));
        step->kind = VLORPI_NORMAL_REPLACE;
        step->n_text = strlen(rules[i][1]);
        VLORP_TRY(vlorpi_tokenizer_copy_text(t, &step->text, rules[i][1], step->n_text, err));
        VLORP_TRY(vlorpi_regex_compile(&step->pattern, t->mem, rules[i][0], strlen(rules[i][0]), false, err));
    }
    return VLORP_OK;
}

static vlorp_status set_pieces(vlorpi_tokenizer *t, cursor c, float *scores, vlorp_err *err)
{
    field f;
    bool more;
    int64_t id = 0;
    while (read_field(&c, &f, &more) && more) {
        piece p;
        if (f.number != MODEL_PIECES || f.wire != 2 || !read_piece(f.bytes, &p)) {
            continue;
        }
        VLORP_TRY(vlorpi_vocab_set(&t->vocab, id, p.text, p.n_bytes, (vlorpi_token_kind)p.kind, err));
        scores[id++] = p.score;
    }
    return VLORP_OK;
}

static vlorp_status read_all(vlorpi_tokenizer *t, cursor file, const settings *s, float *scores, const json_t *added,
                             vlorp_err *err)
{
    VLORP_TRY(set_pieces(t, file, scores, err));
    t->bos = vlorpi_tokenizer_checked_id(t, s->bos);
    t->eos = vlorpi_tokenizer_checked_id(t, s->eos);
    t->pad = vlorpi_tokenizer_checked_id(t, s->pad);
    t->unknown = vlorpi_tokenizer_checked_id(t, s->unknown);
    if (s->remove_spaces) {
        VLORP_TRY(remove_spaces(t, err));
    }
    /* BOS as the LLaMA tokenizers do unless their config says otherwise. */
    vlorpi_piece_options options = {.add_space_prefix = s->space_prefix, .add_bos = t->bos >= 0};
    VLORP_TRY(vlorpi_tokenizer_finish_pieces(t, scores, options, err));
    return vlorpi_tokenizer_read_added(t, added, err);
}

vlorp_status vlorpi_tokenizer_read_pieces(vlorpi_tokenizer *t, const unsigned char *bytes, size_t n_bytes,
                                          const json_t *added, vlorp_err *err)
{
    cursor file = {.at = bytes, .end = bytes + n_bytes};
    settings s = {.unknown = 0, .bos = 1, .eos = 2, .pad = -1, .model_type = 1,
                  .space_prefix = true, .remove_spaces = true, .escape_spaces = true}; /* the format's defaults */
    VLORP_TRY(measure(file, &s, err));
    VLORP_TRY(check(&s, err));
    VLORP_TRY(vlorpi_tokenizer_init_vocab(t, s.n_pieces, s.pool_bytes, added, err));
    float *scores = vlorpi_mem_calloc(t->mem, VLORPI_MEM_DATA, (size_t)t->vocab.n_ids, sizeof *scores);
    if (scores == NULL) {
        return vlorpi_mem_fail(t->mem, VLORPI_MEM_DATA, (size_t)t->vocab.n_ids * sizeof *scores, err);
    }
    vlorp_status status = read_all(t, file, &s, scores, added, err);
    vlorpi_mem_free(t->mem, scores);
    return status;
}

vlorp_status vlorpi_tokenizer_finish_pieces(vlorpi_tokenizer *t, const float *scores, vlorpi_piece_options options,
                                            vlorp_err *err)
{
    t->fuse_unknown = true;
    t->byte_fallback = true; /* acts where the vocabulary has byte tokens */
    for (int32_t id = 0; id < t->vocab.n_ids && t->unknown < 0; id++) {
        t->unknown = t->vocab.kind[id] == VLORPI_TOKEN_UNKNOWN ? id : -1;
    }
    VLORP_TRY(vlorpi_merges_from_scores(&t->merges, t->mem, &t->vocab, scores, err));
    VLORP_TRY(vlorpi_tokenizer_normal_pieces(t, options.add_space_prefix, err));
    VLORP_TRY(vlorpi_tokenizer_decode_pieces(t, options.add_space_prefix, err));
    VLORP_TRY(vlorpi_tokenizer_add_by_kind(t, err));
    VLORP_TRY(vlorpi_tokenizer_set_bos(t, options.add_bos, err));
    return vlorpi_tokenizer_set_eos(t, options.add_eos, err);
}
