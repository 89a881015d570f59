/* Raw Criteo lines, in and out: a label, 13 integers and 26 hexadecimal ids, tab-separated; an
 * empty field is a missing value. The reader is exact about what it accepts and stops at the first
 * line that is wrong; saying what is wrong with it is the caller's.
 */
#ifndef LORABENCH_CRITEO_H
#define LORABENCH_CRITEO_H

#include <math.h>
#include <stdint.h>
#include <string.h>

enum { LB_CRITEO_DENSE = 13, LB_CRITEO_SPARSE = 26, LB_CRITEO_LINE = 14 * 12 + 26 * 9 };

/* The values of hexadecimal digits and the others' 255. */
static inline uint8_t lb_hex_digit(uint8_t c) {
  const uint8_t letter = (uint8_t)((c | 0x20) - 'a');
  const uint8_t digit = (uint8_t)(c - '0');
  return digit < 10 ? digit : letter < 6 ? (uint8_t)(letter + 10) : 255;
}

/* A decimal integer within 2^31 - 1 of 0, or nothing, which is NaN. Returns where it ends; NULL if
 * it is none. */
static inline const uint8_t *lb_criteo_integer(const uint8_t *at, float *value) {
  const int negative = *at == '-';
  const uint8_t *digits = at + negative;
  int64_t sum = 0;
  at = digits;
  for (uint8_t digit; (digit = (uint8_t)(*at - '0')) < 10; at++) {
    sum = 10 * sum + digit;
    if (sum > INT32_MAX)
      return NULL;
  }
  *value = at == digits ? NAN : (float)(int32_t)(negative ? -sum : sum);
  return at == digits && negative ? NULL : at;
}

/* 1 to 8 hexadecimal digits, or nothing, which is -1. */
static inline const uint8_t *lb_criteo_id(const uint8_t *at, int64_t *value) {
  const uint8_t *digits = at;
  uint64_t sum = 0;
  for (uint8_t digit; (digit = lb_hex_digit(*at)) != 255; at++) {
    if (at - digits == 8)
      return NULL;
    sum = sum << 4 | digit;
  }
  *value = at == digits ? -1 : (int64_t)sum;
  return at;
}

typedef struct {
  int8_t *label; /* [rows] */
  float *dense;  /* [13, stride]; NaN is missing */
  int64_t *ids;  /* [26, stride]; -1 is missing */
  int64_t stride;
} lb_criteo_rows;

/* Parse the lines of text [size], which ends in '\n', until one is bad or `stride` rows are full.
 * Returns the rows; *used: bytes of the lines that were parsed; *column: of the bad field in the
 * line behind them, 40 if it has more, -1 if none is bad. */
static inline int64_t lb_criteo_parse(const uint8_t *text, int64_t size, const lb_criteo_rows *out,
                                      int64_t *used, int32_t *column) {
  const uint8_t *line = text, *end = text + size;
  int64_t row = 0;
  for (; line < end && row < out->stride; row++) {
    const uint8_t *at = line;
    int32_t field = 0;
    if ((*at != '0' && *at != '1') || at[1] != '\t')
      goto bad;
    out->label[row] = (int8_t)(*at - '0');
    at += 2;
    for (field = 1; field <= LB_CRITEO_DENSE; field++, at++) {
      at = lb_criteo_integer(at, out->dense + (field - 1) * out->stride + row);
      if (at == NULL || *at != '\t')
        goto bad;
    }
    for (; field <= LB_CRITEO_DENSE + LB_CRITEO_SPARSE; field++, at++) {
      const int64_t place = (field - 1 - LB_CRITEO_DENSE) * out->stride + row;
      at = lb_criteo_id(at, out->ids + place);
      if (at == NULL)
        goto bad;
      if (*at == '\t' && field < LB_CRITEO_DENSE + LB_CRITEO_SPARSE)
        continue;
      if (field < LB_CRITEO_DENSE + LB_CRITEO_SPARSE)
        goto bad;
      at += *at == '\r';
      if (*at != '\n')
        goto bad;
    }
    line = at;
    continue;
  bad:
    *used = line - text;
    *column = field;
    return row;
  }
  *used = line - text;
  *column = -1;
  return row;
}

/* An integer within 2^31 of 0; 2^31 - 1 and those near it, which float32 rounds up, are that. */
static inline uint8_t *lb_put_integer(uint8_t *at, float value) {
  uint8_t digits[10];
  const double size = value < 0 ? -(double)value : (double)value;
  uint32_t rest = size < INT32_MAX ? (uint32_t)size : INT32_MAX;
  int n = 0;
  if (value < 0)
    *at++ = '-';
  do
    digits[n++] = (uint8_t)('0' + rest % 10);
  while (rest /= 10);
  while (n)
    *at++ = digits[--n];
  return at;
}

/* Write lines of rows, ids as 8 digits. Returns the bytes, at most LB_CRITEO_LINE a row. */
static inline int64_t lb_criteo_format(const lb_criteo_rows *in, int64_t rows, uint8_t *text) {
  static const uint8_t hex[] = "0123456789abcdef";
  uint8_t *at = text;
  for (int64_t row = 0; row < rows; row++) {
    *at++ = (uint8_t)('0' + in->label[row]);
    for (int d = 0; d < LB_CRITEO_DENSE; d++) {
      const float value = in->dense[d * in->stride + row];
      *at++ = '\t';
      if (!isnan(value))
        at = lb_put_integer(at, value);
    }
    for (int f = 0; f < LB_CRITEO_SPARSE; f++) {
      const int64_t id = in->ids[f * in->stride + row];
      *at++ = '\t';
      if (id >= 0)
        for (int shift = 28; shift >= 0; shift -= 4)
          *at++ = hex[id >> shift & 15];
    }
    *at++ = '\n';
  }
  return at - text;
}

#endif
