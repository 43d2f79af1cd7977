/* The compiled form of `walk` and `match` in blocks.py, which it must equal on every input.

   walk(body) -> (starts, inputs_at, outputs_end, ends, script_at, outpoint_at), bytearrays of native 32-bit offsets; raises
   ValueError for bytes that are no block.
   make_filter(keys) -> a bitmap in which the bits of all keys are set, 16 bits or more for a key.
   match(body, offsets, is_outpoint, keys, filter) -> those offsets, as a bytearray, whose key is among the sorted keys.
   Keys are native 64-bit numbers. All of them run without the interpreter's lock. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_BYTES 80
#define SHORTEST_SCRIPT 11
#define WITNESS 1
#define MWEB 8

typedef struct {
    const uint8_t *at, *begin, *end;
    const char *fault; /* why the walk stopped, or NULL */
} Reader;

typedef struct {
    uint32_t *items;
    size_t count, room;
} Offsets;

enum { STARTS, INPUTS_AT, OUTPUTS_END, ENDS, SCRIPT_AT, OUTPOINT_AT, LAYOUT };

static int fail(Reader *reader, const char *fault)
{
    if (!reader->fault)
        reader->fault = fault;
    return 0;
}

static int skip(Reader *reader, uint64_t size)
{
    if (size > (uint64_t)(reader->end - reader->at))
        return fail(reader, "it ends early");
    reader->at += size;
    return 1;
}

static int read_varint(Reader *reader, uint64_t *value)
{
    const uint8_t *at = reader->at;
    if (at >= reader->end)
        return fail(reader, "it ends early");
    uint64_t first = at[0], least;
    int size;
    if (first < 0xfd) {
        *value = first;
        reader->at = at + 1;
        return 1;
    }
    if (first == 0xfd) {
        size = 2;
        least = 0xfd;
    } else if (first == 0xfe) {
        size = 4;
        least = 0x10000;
    } else {
        size = 8;
        least = 0x100000000ULL;
    }
    if (reader->end - at <= size)
        return fail(reader, "it ends early");
    uint64_t result = 0;
    for (int byte = size; byte > 0; byte--)
        result = result << 8 | at[byte];
    if (result < least)
        return fail(reader, "a length is written longer than needed");
    *value = result;
    reader->at = at + 1 + size;
    return 1;
}

static int add_offset(Reader *reader, Offsets *offsets, uint32_t offset)
{
    if (offsets->count == offsets->room) {
        size_t room = offsets->room ? offsets->room * 2 : 4096;
        uint32_t *items = realloc(offsets->items, room * sizeof(uint32_t));
        if (!items)
            return fail(reader, "there is no memory to read it");
        offsets->items = items;
        offsets->room = room;
    }
    offsets->items[offsets->count++] = offset;
    return 1;
}

static int add(Reader *reader, Offsets *offsets)
{
    return add_offset(reader, offsets, (uint32_t)(reader->at - reader->begin));
}

static int walk_witnesses(Reader *reader, uint64_t inputs)
{
    uint64_t items, size;
    for (; inputs; inputs--) {
        if (!read_varint(reader, &items))
            return 0;
        for (; items; items--)
            if (!read_varint(reader, &size) || !skip(reader, size))
                return 0;
    }
    return 1;
}

static int walk_transaction(Reader *reader, int *flags, Offsets *layout)
{
    uint64_t inputs, outputs, size;
    if (!add(reader, &layout[STARTS]) || !skip(reader, 4))
        return 0;
    if (reader->end - reader->at < 2)
        return fail(reader, "it ends early");
    *flags = 0;
    if (!reader->at[0]) {
        *flags = reader->at[1];
        if (!*flags || *flags & ~(WITNESS | MWEB))
            return fail(reader, "a transaction has unknown flags");
        reader->at += 2;
    }
    if (!add(reader, &layout[INPUTS_AT]) || !read_varint(reader, &inputs))
        return 0;
    for (uint64_t left = inputs; left; left--)
        if (!add(reader, &layout[OUTPOINT_AT]) || !skip(reader, 36) || !read_varint(reader, &size) || !skip(reader, size) ||
            !skip(reader, 4))
            return 0;
    if (!read_varint(reader, &outputs))
        return 0;
    for (; outputs; outputs--) {
        if (!skip(reader, 8) || !read_varint(reader, &size))
            return 0;
        if (size >= SHORTEST_SCRIPT && !add(reader, &layout[SCRIPT_AT]))
            return 0;
        if (!skip(reader, size))
            return 0;
    }
    if (!add(reader, &layout[OUTPUTS_END]))
        return 0;
    if (*flags & WITNESS && !walk_witnesses(reader, inputs))
        return 0;
    if (*flags & MWEB) {
        if (reader->at < reader->end && *reader->at)
            return fail(reader, "a block holds a MWEB transaction outside its extension");
        if (!skip(reader, 1))
            return 0;
    }
    return skip(reader, 4) && add(reader, &layout[ENDS]);
}

static void walk_block(Reader *reader, Offsets *layout)
{
    uint64_t count;
    int flags = 0;
    if (!skip(reader, HEADER_BYTES) || !read_varint(reader, &count))
        return;
    if (!count)
        fail(reader, "it ends early");
    for (; count; count--)
        if (!walk_transaction(reader, &flags, layout))
            return;
    if (reader->at < reader->end && !(flags & MWEB))
        fail(reader, "it has bytes after its last transaction");
}

static PyObject *packed(const Offsets *offsets)
{
    return PyByteArray_FromStringAndSize((const char *)offsets->items, (Py_ssize_t)(offsets->count * sizeof(uint32_t)));
}

static PyObject *walk(PyObject *module, PyObject *argument)
{
    (void)module;
    Py_buffer view;
    if (PyObject_GetBuffer(argument, &view, PyBUF_SIMPLE))
        return NULL;
    if ((uint64_t)view.len > UINT32_MAX) {
        PyBuffer_Release(&view);
        PyErr_SetString(PyExc_ValueError, "it is longer than any block");
        return NULL;
    }
    Reader reader = {view.buf, view.buf, (const uint8_t *)view.buf + view.len, NULL};
    Offsets layout[LAYOUT] = {{0}};
    Py_BEGIN_ALLOW_THREADS
    walk_block(&reader, layout);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&view);
    PyObject *result = NULL;
    if (reader.fault)
        PyErr_SetString(PyExc_ValueError, reader.fault);
    else
        result = Py_BuildValue("NNNNNN", packed(&layout[STARTS]), packed(&layout[INPUTS_AT]),
                               packed(&layout[OUTPUTS_END]), packed(&layout[ENDS]), packed(&layout[SCRIPT_AT]),
                               packed(&layout[OUTPOINT_AT]));
    for (int part = 0; part < LAYOUT; part++)
        free(layout[part].items);
    return result;
}

/* Each key sets two bits of one 64-bit word: one place in memory to look at, and one miss in fifty to look up. Keys are
   hashes, but of what others chose: the multiplication spreads keys that agree in their low bits. */
static uint64_t spread(int64_t key)
{
    return (uint64_t)key * 0x9e3779b97f4a7c15ULL;
}

static uint64_t word_of(uint64_t hash, uint64_t words)
{
    return (hash >> 20) & (words - 1);
}

static uint64_t bits_of(uint64_t hash)
{
    return 1ULL << (hash >> 58) | 1ULL << (hash >> 52 & 63);
}

static PyObject *make_filter(PyObject *module, PyObject *argument)
{
    (void)module;
    Py_buffer view;
    if (PyObject_GetBuffer(argument, &view, PyBUF_SIMPLE))
        return NULL;
    size_t count = (size_t)view.len / sizeof(int64_t);
    uint64_t words = 16;
    while (words < count / 4 && words < 1ULL << 30)
        words *= 2;
    PyObject *result = PyByteArray_FromStringAndSize(NULL, (Py_ssize_t)(words * sizeof(uint64_t)));
    if (result) {
        uint64_t *bitmap = (uint64_t *)PyByteArray_AS_STRING(result);
        const int64_t *keys = view.buf;
        Py_BEGIN_ALLOW_THREADS
        memset(bitmap, 0, words * sizeof(uint64_t));
        for (size_t number = 0; number < count; number++) {
            uint64_t hash = spread(keys[number]);
            bitmap[word_of(hash, words)] |= bits_of(hash);
        }
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&view);
    return result;
}

static int among(const int64_t *keys, size_t count, int64_t key)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (keys[middle] < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && keys[low] == key;
}

static int64_t little_endian(const uint8_t *at, int size)
{
    uint64_t value = 0;
    while (size--)
        value = value << 8 | at[size];
    return (int64_t)value;
}

static void match_offsets(Reader *reader, const Py_buffer *offsets, int is_outpoint, const Py_buffer *keys,
                          const Py_buffer *filter, Offsets *found)
{
    const uint32_t *at = offsets->buf;
    const uint64_t *bitmap = filter->buf;
    size_t count = (size_t)offsets->len / sizeof(uint32_t), watched = (size_t)keys->len / sizeof(int64_t);
    uint64_t words = (uint64_t)filter->len / sizeof(uint64_t), needed = is_outpoint ? 36 : SHORTEST_SCRIPT;
    for (size_t number = 0; number < count; number++) {
        if (at[number] + needed > (uint64_t)(reader->end - reader->begin)) {
            fail(reader, "an offset lies outside it");
            return;
        }
        const uint8_t *place = reader->begin + at[number];
        int64_t key = is_outpoint ? little_endian(place, 8) ^ little_endian(place + 32, 4) : little_endian(place + 3, 8);
        uint64_t hash = spread(key), bits = bits_of(hash);
        if ((bitmap[word_of(hash, words)] & bits) == bits && among(keys->buf, watched, key) &&
            !add_offset(reader, found, at[number]))
            return;
    }
}

static PyObject *match(PyObject *module, PyObject *arguments)
{
    (void)module;
    Py_buffer body, offsets, keys, filter;
    int is_outpoint;
    if (!PyArg_ParseTuple(arguments, "y*y*py*y*", &body, &offsets, &is_outpoint, &keys, &filter))
        return NULL;
    PyObject *result = NULL;
    Reader reader = {body.buf, body.buf, (const uint8_t *)body.buf + body.len, NULL};
    Offsets found = {0};
    if (filter.len < 128 || filter.len & (filter.len - 1)) {
        PyErr_SetString(PyExc_ValueError, "the filter was not made by make_filter");
    } else {
        Py_BEGIN_ALLOW_THREADS
        match_offsets(&reader, &offsets, is_outpoint, &keys, &filter, &found);
        Py_END_ALLOW_THREADS
        if (reader.fault)
            PyErr_SetString(PyExc_ValueError, reader.fault);
        else
            result = packed(&found);
    }
    free(found.items);
    PyBuffer_Release(&body);
    PyBuffer_Release(&offsets);
    PyBuffer_Release(&keys);
    PyBuffer_Release(&filter);
    return result;
}

static PyMethodDef methods[] = {
    {"walk", walk, METH_O, "Walk a raw block by length alone."},
    {"make_filter", make_filter, METH_O, "Make the bitmap by which most keys are told apart at once."},
    {"match", match, METH_VARARGS, "Return the offsets whose key is watched."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_scan", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__scan(void)
{
    return PyModule_Create(&definition);
}
