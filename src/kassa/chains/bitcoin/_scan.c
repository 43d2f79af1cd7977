/* The compiled form of `walk` and `touched` in layout.py, which it must equal on every input.

   walk(body) -> (starts, inputs_at, outputs_end, ends, script_at, outpoint_at), bytearrays of native 32-bit offsets; raises
   ValueError for bytes that are no block.
   make_filter(keys) -> a bitmap in which the bits of all keys are set, 16 bits or more for a key.
   touched(body, destinations, filter, outpoints, filter) -> the numbers, as a bytearray of native 32-bit ones, of the
   transactions with a key among the sorted keys, once for each such key, in no order; raises as `walk` does.
   Keys are native 64-bit numbers. All of them run without the interpreter's lock. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __GNUC__
#define PREFETCH(place) __builtin_prefetch(place)
#else
#define PREFETCH(place) ((void)(place))
#endif

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

#define PROBES 32 /* keys looked up together: the bitmap is larger than a cache, and 32 waits for it overlap */

typedef struct {
    uint64_t hash;
    int64_t key;
    uint32_t transaction;
} Probe;

typedef struct {
    const int64_t *keys;
    size_t count;
    const uint64_t *bitmap;
    uint64_t words; /* a power of two */
    Probe waiting[PROBES];
    size_t waits;
} Watched;

/* Where a walk puts what it passes: offsets into `layout`, or, where keys are watched, transactions into `touched`. */
typedef struct {
    Offsets layout[LAYOUT], touched;
    Watched *destinations, *outpoints; /* both or none */
} Sink;

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

static int add(Reader *reader, Offsets *offsets, const uint8_t *place)
{
    return add_offset(reader, offsets, (uint32_t)(place - reader->begin));
}

/* Each key sets three bits of one 64-bit word: one place in memory to look at, and one miss in a hundred to look up. Keys
   are hashes, but of what others chose: the multiplication spreads keys that agree in their low bits. */
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
    return 1ULL << (hash >> 58) | 1ULL << (hash >> 52 & 63) | 1ULL << (hash >> 46 & 63);
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

static int look_up(Reader *reader, Watched *watched, Offsets *touched)
{
    for (size_t number = 0; number < watched->waits; number++) {
        const Probe *probe = &watched->waiting[number];
        uint64_t bits = bits_of(probe->hash);
        if ((watched->bitmap[word_of(probe->hash, watched->words)] & bits) == bits &&
            among(watched->keys, watched->count, probe->key) && !add_offset(reader, touched, probe->transaction))
            return 0;
    }
    watched->waits = 0;
    return 1;
}

static int note(Reader *reader, Watched *watched, int64_t key, uint32_t transaction, Offsets *touched)
{
    uint64_t hash = spread(key);
    PREFETCH(&watched->bitmap[word_of(hash, watched->words)]);
    watched->waiting[watched->waits++] = (Probe){hash, key, transaction};
    return watched->waits < PROBES || look_up(reader, watched, touched);
}

static int64_t little_endian(const uint8_t *at, int size)
{
    uint64_t value = 0;
    while (size--)
        value = value << 8 | at[size];
    return (int64_t)value;
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

static int walk_inputs(Reader *reader, uint64_t inputs, Sink *sink, uint32_t transaction)
{
    uint64_t size;
    for (; inputs; inputs--) {
        const uint8_t *outpoint = reader->at;
        if (!skip(reader, 36) || !read_varint(reader, &size) || !skip(reader, size) || !skip(reader, 4))
            return 0;
        if (sink->outpoints) {
            int64_t key = little_endian(outpoint, 8) ^ little_endian(outpoint + 32, 4);
            if (!note(reader, sink->outpoints, key, transaction, &sink->touched))
                return 0;
        } else if (!add(reader, &sink->layout[OUTPOINT_AT], outpoint))
            return 0;
    }
    return 1;
}

static int walk_outputs(Reader *reader, uint64_t outputs, Sink *sink, uint32_t transaction)
{
    uint64_t size;
    for (; outputs; outputs--) {
        if (!skip(reader, 8) || !read_varint(reader, &size))
            return 0;
        const uint8_t *script = reader->at;
        if (!skip(reader, size))
            return 0;
        if (size < SHORTEST_SCRIPT)
            continue;
        if (sink->destinations) {
            if (!note(reader, sink->destinations, little_endian(script + 3, 8), transaction, &sink->touched))
                return 0;
        } else if (!add(reader, &sink->layout[SCRIPT_AT], script))
            return 0;
    }
    return 1;
}

static int walk_transaction(Reader *reader, int *flags, Sink *sink, uint32_t number)
{
    uint64_t inputs, outputs;
    const uint8_t *start = reader->at, *inputs_at, *outputs_end;
    if (!skip(reader, 4))
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
    inputs_at = reader->at;
    if (!read_varint(reader, &inputs) || !walk_inputs(reader, inputs, sink, number) || !read_varint(reader, &outputs) ||
        !walk_outputs(reader, outputs, sink, number))
        return 0;
    outputs_end = reader->at;
    if (*flags & WITNESS && !walk_witnesses(reader, inputs))
        return 0;
    if (*flags & MWEB) {
        if (reader->at < reader->end && *reader->at)
            return fail(reader, "a block holds a MWEB transaction outside its extension");
        if (!skip(reader, 1))
            return 0;
    }
    if (!skip(reader, 4))
        return 0;
    if (sink->destinations)
        return 1;
    return add(reader, &sink->layout[STARTS], start) && add(reader, &sink->layout[INPUTS_AT], inputs_at) &&
           add(reader, &sink->layout[OUTPUTS_END], outputs_end) && add(reader, &sink->layout[ENDS], reader->at);
}

static void walk_block(Reader *reader, Sink *sink)
{
    uint64_t count;
    int flags = 0;
    if (!skip(reader, HEADER_BYTES) || !read_varint(reader, &count))
        return;
    if (!count)
        fail(reader, "it ends early");
    for (uint32_t number = 0; number < count; number++) /* each has 10 bytes or more, so `number` cannot wrap */
        if (!walk_transaction(reader, &flags, sink, number))
            return;
    if (reader->at < reader->end && !(flags & MWEB))
        fail(reader, "it has bytes after its last transaction");
    else if (sink->destinations)
        (void)(look_up(reader, sink->destinations, &sink->touched) && look_up(reader, sink->outpoints, &sink->touched));
}

static PyObject *packed(const Offsets *offsets)
{
    return PyByteArray_FromStringAndSize((const char *)offsets->items, (Py_ssize_t)(offsets->count * sizeof(uint32_t)));
}

/* Walk a body into a sink; 0 with an exception set for what is no block. */
static int walk_body(const Py_buffer *view, Sink *sink)
{
    Reader reader = {view->buf, view->buf, (const uint8_t *)view->buf + view->len, NULL};
    if ((uint64_t)view->len > UINT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "it is longer than any block");
        return 0;
    }
    Py_BEGIN_ALLOW_THREADS
    walk_block(&reader, sink);
    Py_END_ALLOW_THREADS
    if (reader.fault)
        PyErr_SetString(PyExc_ValueError, reader.fault);
    return !reader.fault;
}

static PyObject *walk(PyObject *module, PyObject *argument)
{
    (void)module;
    Py_buffer view;
    if (PyObject_GetBuffer(argument, &view, PyBUF_SIMPLE))
        return NULL;
    Sink sink = {.layout = {{0}}};
    Offsets *layout = sink.layout;
    PyObject *result = NULL;
    if (walk_body(&view, &sink))
        result = Py_BuildValue("NNNNNN", packed(&layout[STARTS]), packed(&layout[INPUTS_AT]),
                               packed(&layout[OUTPUTS_END]), packed(&layout[ENDS]), packed(&layout[SCRIPT_AT]),
                               packed(&layout[OUTPOINT_AT]));
    PyBuffer_Release(&view);
    for (int part = 0; part < LAYOUT; part++)
        free(layout[part].items);
    return result;
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

static int is_filter(const Py_buffer *filter)
{
    return filter->len >= 128 && !(filter->len & (filter->len - 1));
}

static Watched watched_of(const Py_buffer *keys, const Py_buffer *filter)
{
    return (Watched){.keys = keys->buf,
                     .count = (size_t)keys->len / sizeof(int64_t),
                     .bitmap = filter->buf,
                     .words = (uint64_t)filter->len / sizeof(uint64_t)};
}

static PyObject *touched(PyObject *module, PyObject *arguments)
{
    (void)module;
    Py_buffer body, keys[2], filters[2];
    if (!PyArg_ParseTuple(arguments, "y*y*y*y*y*", &body, &keys[0], &filters[0], &keys[1], &filters[1]))
        return NULL;
    PyObject *result = NULL;
    Watched destinations = watched_of(&keys[0], &filters[0]), outpoints = watched_of(&keys[1], &filters[1]);
    Sink sink = {.destinations = &destinations, .outpoints = &outpoints};
    if (!is_filter(&filters[0]) || !is_filter(&filters[1]))
        PyErr_SetString(PyExc_ValueError, "the filter was not made by make_filter");
    else if (walk_body(&body, &sink))
        result = packed(&sink.touched);
    free(sink.touched.items);
    PyBuffer_Release(&body);
    for (int which = 0; which < 2; which++) {
        PyBuffer_Release(&keys[which]);
        PyBuffer_Release(&filters[which]);
    }
    return result;
}

static PyMethodDef methods[] = {
    {"walk", walk, METH_O, "Walk a raw block by length alone."},
    {"make_filter", make_filter, METH_O, "Make the bitmap by which most keys are told apart at once."},
    {"touched", touched, METH_VARARGS, "Return the numbers of the transactions that touch a watched key."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_scan", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__scan(void)
{
    return PyModule_Create(&definition);
}
