# The guest that tries an accelerator: it executes what a current Linux kernel and its programs
# execute, says a letter on port 0xe9 before each step, and ends with 0x10 on port 0xf4.
#
#   letter  step                              needed by
#   p       32-bit code runs at all
#   c       baseline features in CPUID        every amd64 kernel
#   l       switch to long mode, with NX      every amd64 kernel
#   y       syscall and sysret's registers    every amd64 kernel
#   2       SSE2 arithmetic                   every amd64 program
#   3       SSE3, if CPUID offers it          libraries that choose by CPUID
#   b       BMI2 (shlx, pdep), if offered     the kernel's own decompressor
#   t       rdtscp, if offered                the clock in the vDSO
#   a       XSAVE and AVX, if offered         libraries that choose by CPUID
#   .       all done
#
# Ends with 0x20 instead when the baseline is incomplete. A fault resets the machine, which QEMU is
# told to take for the end. Assembled by the test `the_guest_is_what_its_source_says`:
#   as --64 -o guest.o guest.S && ld -Ttext=0x100000 -e start --oformat binary -o guest.bin guest.o

        .set    TABLES, 0x180000        # page tables: 3 pages
        .set    STACK, 0x190000
        .set    LINUX_NEEDS_EDX, (1 << 5) | (1 << 6) | (1 << 8) | (1 << 13) | (1 << 15) | (1 << 24) | (1 << 25) | (1 << 26)

        .macro  step letter
        mov     $\letter, %al
        out     %al, $0xe9
        .endm

        .text
        .code32
header: .long   0x1badb002              # multiboot, addresses given here
        .long   0x00010000
        .long   -(0x1badb002 + 0x00010000)
        .long   header                  # where the header is loaded
        .long   header                  # where the file is loaded
        .long   end
        .long   end
        .long   start
        .globl  start
start:  cli
        mov     $STACK, %esp
        step    'p'

        step    'c'
        mov     $0x80000000, %eax
        cpuid
        cmp     $0x80000001, %eax
        jb      lacking
        mov     $0x80000001, %eax
        cpuid
        mov     %edx, %ebp              # kept for rdtscp
        and     $(1 << 20 | 1 << 29), %edx   # NX, long mode
        cmp     $(1 << 20 | 1 << 29), %edx
        jne     lacking
        mov     $1, %eax
        cpuid
        mov     %ecx, %esi              # kept for SSE3, XSAVE, AVX
        and     $LINUX_NEEDS_EDX, %edx
        cmp     $LINUX_NEEDS_EDX, %edx
        jne     lacking

        step    'l'
        xor     %eax, %eax
        mov     $TABLES, %edi
        mov     $(3 * 4096 / 4), %ecx
        rep stosl
        movl    $(TABLES + 0x1003), TABLES
        movl    $(TABLES + 0x2003), TABLES + 0x1000
        movl    $0x83, TABLES + 0x2000  # the first 2 MiB, where all of this is
        mov     $TABLES, %eax
        mov     %eax, %cr3
        mov     $0x620, %eax            # PAE, OSFXSR, OSXMMEXCPT
        mov     %eax, %cr4
        mov     $0xc0000080, %ecx       # EFER: SCE, LME, NXE
        rdmsr
        or      $0x901, %eax
        wrmsr
        mov     %cr0, %eax
        and     $~4, %eax               # no x87 emulation
        or      $0x80000003, %eax       # paging, WP not needed, MP, PE
        mov     %eax, %cr0
        lgdt    gdt_pointer
        ljmp    $0x08, $long_mode

lacking:
        mov     $0x20, %al
        out     %al, $0xf4
        hlt

        .code64
long_mode:
        mov     $0x10, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        mov     $STACK, %rsp

        step    'y'
        mov     $0xc0000081, %ecx       # STAR: kernel's selectors
        xor     %eax, %eax
        mov     $0x00000008, %edx
        wrmsr
        mov     $0xc0000082, %ecx       # LSTAR: where syscall goes
        lea     called(%rip), %rax
        xor     %edx, %edx
        wrmsr
        mov     $0xc0000084, %ecx       # FMASK
        xor     %eax, %eax
        wrmsr
        syscall
        hlt
called: lea     back(%rip), %rax
        jmp     *%rax
back:
        step    '2'
        mov     $21, %eax
        movd    %eax, %xmm0
        paddd   %xmm0, %xmm0
        movd    %xmm0, %eax
        cmp     $42, %eax
        jne     wrong

        test    $1, %esi
        jz      1f
        step    '3'
        mov     $42, %eax
        cvtsi2sd %eax, %xmm1
        movddup %xmm1, %xmm1
        haddpd  %xmm1, %xmm1
        cvtsd2si %xmm1, %eax
        cmp     $84, %eax
        jne     wrong
1:
        xor     %eax, %eax
        cpuid
        cmp     $7, %eax
        jb      2f
        mov     $7, %eax
        xor     %ecx, %ecx
        cpuid
        test    $(1 << 8), %ebx
        jz      2f
        step    'b'
        mov     $5, %rax
        mov     $3, %rcx
        shlx    %rcx, %rax, %rdx
        cmp     $40, %rdx
        jne     wrong
        mov     $0xf0, %rcx
        pdep    %rcx, %rax, %rdx
        cmp     $0x50, %rdx
        jne     wrong
2:
        test    $(1 << 27), %ebp
        jz      3f
        step    't'
        rdtscp
3:
        mov     %esi, %eax
        and     $(1 << 26 | 1 << 28), %eax
        cmp     $(1 << 26 | 1 << 28), %eax
        jne     4f
        step    'a'
        mov     %cr4, %rax
        or      $(1 << 18), %rax        # OSXSAVE
        mov     %rax, %cr4
        xor     %ecx, %ecx
        xgetbv
        or      $7, %eax                # x87, SSE, AVX
        xsetbv
        mov     $21, %eax
        vmovd   %eax, %xmm2
        vpaddd  %xmm2, %xmm2, %xmm2
        vmovd   %xmm2, %eax
        vzeroupper
        cmp     $42, %eax
        jne     wrong
4:
        step    '.'
        mov     $0x10, %al
        out     %al, $0xf4
        hlt

wrong:  mov     $0x21, %al              # an instruction computed something else
        out     %al, $0xf4
        hlt

        .balign 8
gdt:    .quad   0
        .quad   0x00af9a000000ffff      # 0x08 64-bit code
        .quad   0x00cf92000000ffff      # 0x10 data
gdt_pointer:
        .word   gdt_pointer - gdt - 1
        .long   gdt
        .balign 4
end:
