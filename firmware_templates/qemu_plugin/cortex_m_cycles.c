/* QEMU plugin: counts instructions exactly, and estimates cycles, between two marker instructions of the firmware.
 *
 *   mov r9, r9      counting starts          mov r10, r10    counting ends; one line of JSON goes to out=FILE:
 *   {"instructions": 1234, "base_cycles": 1500, "taken": 99}
 *
 * cycles = base_cycles + refill * taken, where refill is 1 to 3 cycles for each jump to another place (the pipeline refills).
 * base_cycles are Arm's instruction timing tables at zero wait states: Cortex-M4 TRM (DDI 0439), table 3-1, or with core=m3
 * Cortex-M3 TRM (DDI 0337), table 3-1, which differ in multiplication only. Loads that follow one another pipeline; flash
 * wait states, contention and cache are not modelled. An estimate, not a measurement.
 *
 * Compiled without QEMU's headers: the few functions used are declared here. -DPLUGIN_API=1 (QEMU before 9.0), 2 (9.0) or 3 (9.1
 * and later, where qemu_plugin_insn_data copies instead of returning a pointer).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef PLUGIN_API
#define PLUGIN_API 1
#endif
#define EXPORT __attribute__((visibility("default")))

typedef uint64_t plugin_id;
typedef struct {
    const char *target_name;
    struct { int min, cur; } version;
    bool system_emulation;
    union { struct { int smp_vcpus, max_vcpus; } system; } more;
} plugin_info;
typedef struct qemu_plugin_tb plugin_block;
typedef struct qemu_plugin_insn plugin_instruction;
typedef void (*on_translated)(plugin_id, plugin_block *);
typedef void (*on_executed)(unsigned cpu, void *data);
typedef void (*on_exit)(plugin_id, void *data);
enum { NO_REGISTERS = 0 };

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, on_translated);
void qemu_plugin_register_vcpu_tb_exec_cb(plugin_block *, on_executed, int flags, void *data);
void qemu_plugin_register_vcpu_insn_exec_cb(plugin_instruction *, on_executed, int flags, void *data);
void qemu_plugin_register_atexit_cb(plugin_id, on_exit, void *data);
size_t qemu_plugin_tb_n_insns(const plugin_block *);
plugin_instruction *qemu_plugin_tb_get_insn(const plugin_block *, size_t);
uint64_t qemu_plugin_insn_vaddr(const plugin_instruction *);
size_t qemu_plugin_insn_size(const plugin_instruction *);
#if PLUGIN_API >= 3
size_t qemu_plugin_insn_data(const plugin_instruction *, void *to, size_t n);
#else
const void *qemu_plugin_insn_data(const plugin_instruction *);
#endif

EXPORT int qemu_plugin_version = PLUGIN_API;
EXPORT int qemu_plugin_install(plugin_id id, const plugin_info *info, int argc, char **argv);

typedef enum { OTHER, LOAD, STORE } kind;
typedef struct {
    kind kind;
    uint32_t cycles;        /* alone, not pipelined behind another */
} timing;
typedef struct {
    uint64_t start, end;    /* addresses; end is where execution goes on when the last instruction does not jump */
    uint32_t instructions, cycles;
} block;
typedef struct {
    const block *in;
    uint32_t instructions, cycles;  /* of the block, up to here */
} mark;

enum { MARK_START = 0x46C9, MARK_END = 0x46D2 };

static uint64_t instructions, cycles, taken, last_end;
static uint64_t instructions_0, cycles_0, taken_0;
static bool is_m3;
static FILE *out;

static uint32_t bits(uint32_t v)
{
    return (uint32_t)__builtin_popcount(v);
}

static timing load(uint32_t n) { return (timing){ LOAD, n }; }
static timing store(uint32_t n) { return (timing){ STORE, n }; }
static timing plain(uint32_t n) { return (timing){ OTHER, n }; }

/* A 16-bit instruction. */
static timing narrow(uint16_t a)
{
    const bool loads = a & 0x0800;

    if ((a & 0xF800) == 0x4800)                                 /* LDR literal */
        return load(2);
    if (a >> 12 == 5)                                           /* register offset */
        return ((a >> 9) & 7) >= 3 ? load(2) : store(1);
    if (a >> 13 == 3 || a >> 12 == 8 || a >> 12 == 9)           /* immediate offset, halfword, SP-relative */
        return loads ? load(2) : store(1);
    if ((a & 0xF600) == 0xB400)                                 /* PUSH, POP */
        return plain(1 + bits(a & 0x1FF));
    if (a >> 12 == 0xC)                                         /* LDM, STM */
        return plain(1 + bits(a & 0xFF));
    if ((a & 0xFF00) == 0xBF00 && (a & 15))                     /* IT folds into what follows */
        return plain(0);
    return plain(1);
}

/* VFP: arithmetic, moves, loads and stores. */
static timing floating(uint16_t a, uint16_t b)
{
    const uint32_t op = a & 0xB0;

    if ((a & 0x0F00) == 0x0E00) {
        if (b & 0x10)                                           /* moves to and from core registers */
            return plain(1);
        if ((op == 0x80 && !(b & 0x40)) || ((a & 0xFFBF) == 0xEEB1 && (b & 0xC0) == 0xC0))
            return plain(14);                                   /* VDIV, VSQRT */
        if (op == 0x00 || op == 0x10 || op == 0xA0 || op == 0x90)
            return plain(3);                                    /* VMLA, VMLS, VNMLA, VFMA ... */
        return plain(1);
    }
    if ((a & 0x0F20) == 0x0D00) {                               /* VLDR, VSTR; one more for a double */
        const uint32_t n = 2 + ((b >> 8) & 1);
        return a & 0x10 ? load(n) : store(n);
    }
    if ((a & 0x0FE0) == 0x0C40)                                 /* VMOV of two registers */
        return plain(2);
    return plain(1 + (b & 0xFF));                               /* VLDM, VSTM, VPUSH, VPOP */
}

/* Multiplication and division. The M4 multiplies in one cycle whatever the form. */
static timing multiplying(uint16_t a, uint16_t b)
{
    const bool is_long = a & 0x80;
    const uint32_t op = (a >> 4) & 7;

    if (is_long && (op == 1 || op == 3))
        return plain(6);                                        /* SDIV, UDIV: 2 to 12 */
    if (!is_m3)
        return plain(1);
    if (is_long)
        return plain(op >= 4 ? 6 : 4);                          /* UMLAL and SMLAL 4 to 7; UMULL and SMULL 3 to 5 */
    return plain((b >> 12) == 15 ? 1 : 2);                      /* MUL; MLA and MLS */
}

/* A 32-bit instruction. */
static timing wide(uint16_t a, uint16_t b)
{
    const bool loads = a & 0x10;

    if ((a & 0xFE40) == 0xE800)                                 /* LDM, STM */
        return plain(1 + bits(b));
    if ((a & 0xFE40) == 0xE840) {
        if ((a & 0xFFF0) == 0xE8D0 && (b & 0xF0E0) == 0xF000)   /* TBB, TBH */
            return plain(2);
        return loads ? load(3) : store(a & 0x0120 ? 3 : 2);     /* LDRD, STRD, exclusive */
    }
    if ((a & 0xFE00) == 0xF800)                                 /* single loads and stores */
        return loads ? load(2) : store(1);
    if ((a & 0xFF00) == 0xFB00)
        return multiplying(a, b);
    if ((a & 0xEC00) == 0xEC00)
        return floating(a, b);
    return plain(1);
}

/* Its bytes, and how many they are by the encoding: QEMU counts the next ones in where it looked ahead at a page's end. */
static uint32_t fetch(const plugin_instruction *in, uint16_t half[2])
{
    const size_t size = qemu_plugin_insn_size(in);
    uint8_t d[4] = { 0 };

#if PLUGIN_API >= 3
    qemu_plugin_insn_data(in, d, size < 4 ? size : 4);
#else
    memcpy(d, qemu_plugin_insn_data(in), size < 4 ? size : 4);
#endif
    half[0] = (uint16_t)(d[0] | d[1] << 8);
    half[1] = (uint16_t)(d[2] | d[3] << 8);
    return half[0] >= 0xE800 ? 4 : 2;
}

static void count_block(unsigned cpu, void *data)
{
    const block *b = data;
    (void)cpu;
    instructions += b->instructions;
    cycles += b->cycles;
    taken += b->start != last_end;
    last_end = b->end;
}

/* Blocks are counted whole when they are entered; a mark takes back what lies behind it. */
static void start_counting(unsigned cpu, void *data)
{
    const mark *m = data;
    (void)cpu;
    instructions_0 = instructions - m->in->instructions + m->instructions;
    cycles_0 = cycles - m->in->cycles + m->cycles;
    taken_0 = taken;
}

static void end_counting(unsigned cpu, void *data)
{
    const mark *m = data;
    (void)cpu;
    fprintf(out, "{\"instructions\": %llu, \"base_cycles\": %llu, \"taken\": %llu}\n",
            (unsigned long long)(instructions - m->in->instructions + m->instructions - instructions_0),
            (unsigned long long)(cycles - m->in->cycles + m->cycles - cycles_0),
            (unsigned long long)(taken - taken_0));
    if (fflush(out)) {                  /* a figure that is missing must not be taken from an earlier run */
        perror("cortex_m_cycles: the counts can not be written");
        abort();
    }
}

static void *allocate(size_t size)
{
    void *p = calloc(1, size);          /* lives as long as QEMU may run the block: until it exits */
    if (!p)
        abort();
    return p;
}

/* The start mark itself is not counted, nor is the end mark: `b` holds what comes before it. */
static void place_mark(plugin_instruction *in, const block *b, bool starts)
{
    mark *m = allocate(sizeof *m);
    *m = (mark){ b, b->instructions + starts, b->cycles + starts };
    qemu_plugin_register_vcpu_insn_exec_cb(in, starts ? start_counting : end_counting, NO_REGISTERS, m);
}

static void translate(plugin_id id, plugin_block *tb)
{
    const size_t n = qemu_plugin_tb_n_insns(tb);
    block *b = allocate(sizeof *b);
    kind before = OTHER;
    (void)id;

    for (size_t i = 0; i < n; i++) {
        plugin_instruction *in = qemu_plugin_tb_get_insn(tb, i);
        uint16_t half[2];
        const uint32_t size = fetch(in, half);
        timing t = size == 4 ? wide(half[0], half[1]) : narrow(half[0]);
        if (t.kind == LOAD && t.cycles == 2 && before != OTHER)
            t.cycles = 1;               /* pipelined behind another load or store */
        before = t.kind;
        if (i == 0)
            b->start = qemu_plugin_insn_vaddr(in);
        b->end = qemu_plugin_insn_vaddr(in) + size;
        if (size == 2 && (half[0] == MARK_START || half[0] == MARK_END))
            place_mark(in, b, half[0] == MARK_START);
        b->instructions++;
        b->cycles += t.cycles;
    }
    qemu_plugin_register_vcpu_tb_exec_cb(tb, count_block, NO_REGISTERS, b);
}

static void finish(plugin_id id, void *data)
{
    (void)id, (void)data;
    fclose(out);
}

EXPORT int qemu_plugin_install(plugin_id id, const plugin_info *info, int argc, char **argv)
{
    if ((info->version.cur >= 3) != (PLUGIN_API >= 3)) {
        fprintf(stderr, "cortex_m_cycles: compiled for plugin API %d, but this QEMU has %d\n", PLUGIN_API, info->version.cur);
        return 1;
    }
    for (int i = 0; i < argc; i++) {
        if (!strncmp(argv[i], "out=", 4))
            out = fopen(argv[i] + 4, "w");
        is_m3 = is_m3 || !strcmp(argv[i], "core=m3");
    }
    if (!out) {
        fprintf(stderr, "cortex_m_cycles: out=FILE is missing or can not be written\n");
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    qemu_plugin_register_atexit_cb(id, finish, NULL);
    return 0;
}
