/* dtype.h - element types of tensors that libvlorp reads and writes. */
#ifndef VLORP_DTYPE_H
#define VLORP_DTYPE_H

#ifdef __cplusplus
extern "C" {
#endif

typedef enum vlorp_dtype {
    VLORP_F32 = 0,  /* IEEE binary32 */
    VLORP_BF16 = 1, /* the upper half of a binary32 */
    VLORP_F16 = 2,  /* IEEE binary16: files only, weights are never trained in it */
    VLORP_U8 = 3    /* bytes: state tensors of adamw8bit only */
} vlorp_dtype;

#ifdef __cplusplus
}
#endif
#endif
